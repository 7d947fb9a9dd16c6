/** The part of a `Worker` or a `MessagePort` that sends. */
export interface Receiver<Message> {
  postMessage(messages: readonly Message[], transfer: readonly ArrayBuffer[]): void;
}

/** Sends everything that one turn has for another thread in one message, because each message wakes it up. */
export class MessageBatch<Message> {
  private messages: Message[] = [];
  private transfer: ArrayBuffer[] = [];

  constructor(private readonly receiver: Receiver<Message>) {}

  /** `owned` is memory of the message that the receiver owns from then on. */
  send(message: Message, owned?: ArrayBuffer): void {
    if (this.messages.length === 0) queueMicrotask(() => this.flush());
    this.messages.push(message);
    if (owned) this.transfer.push(owned);
  }

  private flush(): void {
    const { messages, transfer } = this;
    this.messages = [];
    this.transfer = [];
    this.receiver.postMessage(messages, transfer);
  }
}
