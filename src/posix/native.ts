/** The foreign-function library, and the type of a bound function. */
export type Koffi = typeof import('koffi');
export type Native = ReturnType<ReturnType<Koffi['load']>['func']>;
