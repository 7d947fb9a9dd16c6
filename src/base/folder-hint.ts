/** How to mend that a folder cannot be made or used; `option` is the flag that names it. */
export function folderHint({ code }: NodeJS.ErrnoException, option: string): string {
  const another = `choose another one with ${option} DIR`;
  switch (code) {
    case 'ENOENT':
      return `a folder above it is missing, and cannot be made: ${another}`;
    case 'ENOTDIR':
    case 'EEXIST':
      return `a file is in its way: ${another}`;
    case 'EROFS':
      return `its file system is read-only: ${another}`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `make room there, or ${another}`;
    default:
      return `choose one that you may write with ${option} DIR`;
  }
}
