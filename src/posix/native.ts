/** The library that makes foreign calls, and one such call. */
export type Koffi = typeof import('koffi');
export type Native = ReturnType<ReturnType<Koffi['load']>['func']>;
