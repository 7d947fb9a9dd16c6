/** The form of replies that client and server have agreed on. */
export type ReplyForm = 'simple' | 'structured';
