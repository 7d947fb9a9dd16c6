import * as errno from '../base/errno.js';
import { NbdError } from './constants.js';

const wireErrorByErrno = new Map<errno.Errno, NbdError>([
  [errno.OK, NbdError.NONE],
  [errno.EPERM, NbdError.EPERM],
  [errno.EROFS, NbdError.EPERM],
  [errno.ENOMEM, NbdError.ENOMEM],
  [errno.EINVAL, NbdError.EINVAL],
  [errno.ENOSPC, NbdError.ENOSPC],
  [errno.EDQUOT, NbdError.ENOSPC],
  [errno.EFBIG, NbdError.ENOSPC],
  [errno.EOVERFLOW, NbdError.EOVERFLOW],
  [errno.EOPNOTSUPP, NbdError.ENOTSUP],
  [errno.ESHUTDOWN, NbdError.ESHUTDOWN],
]);

/** The error to send for an errno: EIO for every errno that the protocol has no number for ("Error values"). */
export function toNbdError(number: errno.Errno): NbdError {
  return wireErrorByErrno.get(number) ?? NbdError.EIO;
}

/** What a device reports, for people. Requests that break a rule never get to a device. */
const textByError: Record<NbdError, string> = {
  [NbdError.NONE]: '',
  [NbdError.EPERM]: 'the storage of the export does not permit this',
  [NbdError.EIO]: 'the disk failed, or the view or bitmap of the request is gone (see the server log)',
  [NbdError.ENOMEM]: 'the server is out of memory',
  [NbdError.EINVAL]: 'the storage of the export refused the request',
  [NbdError.ENOSPC]: 'no space is left on the storage of the export',
  [NbdError.EOVERFLOW]: 'the request is too large for the storage of the export',
  [NbdError.ENOTSUP]: 'zeroing would not be faster than writing',
  [NbdError.ESHUTDOWN]: 'the server is stopping',
};

/** The message of a structured error reply about a failure of the device. */
export function wireErrorText(error: NbdError): string {
  return textByError[error];
}
