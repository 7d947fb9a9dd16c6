/** The hint for a folder that cannot be created or used. `option` is the command-line option that names the folder. */
export function folderHint({ code }: NodeJS.ErrnoException, option: string): string {
  const another = `choose another one with ${option} DIR`;
  switch (code) {
    case 'ENOENT':
      return `a folder above it is missing and cannot be created: ${another}`;
    case 'ENOTDIR':
    case 'EEXIST':
      return `a file is in its way: ${another}`;
    case 'EROFS':
      return `its file system is read-only: ${another}`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `free some space there, or ${another}`;
    default:
      return `choose one that you can write to with ${option} DIR`;
  }
}
