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

const textByError: Record<NbdError, string> = {
  [NbdError.NONE]: '',
  [NbdError.EPERM]: 'the export is read-only',
  [NbdError.EIO]: 'the disk failed (the server log has the cause)',
  [NbdError.ENOMEM]: 'the server is out of memory',
  [NbdError.EINVAL]: 'the request is not valid for this export',
  [NbdError.ENOSPC]: 'no space left, or the range is beyond the end of the export',
  [NbdError.EOVERFLOW]: 'the request is larger than the server accepts',
  [NbdError.ENOTSUP]: 'zeroing would not be faster than writing',
  [NbdError.ESHUTDOWN]: 'the server is stopping',
};

/** The message of a structured error reply. */
export function wireErrorText(error: NbdError): string {
  return textByError[error];
}
