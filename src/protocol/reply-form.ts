/** The form of replies that client and server have agreed on. With the extended form, requests are extended too. */
export type ReplyForm = 'simple' | 'structured' | 'extended';
