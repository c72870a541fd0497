//! What can go wrong between a tree and a layer: the object, the operation and the cause.

use std::io;
use std::path::{Path, PathBuf};

use crate::decode::TooLarge;

/// A failure to read, write, unpack or copy files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A file system operation failed; `path` is as the caller or the archive named it.
    #[error("failed to {operation} {}", path.display())]
    Io {
        /// What was tried, as a verb: `open`, `set the times of`.
        operation: &'static str,
        /// The file it was tried on.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// An archive entry has a `..` component, or a name that cannot be a file name.
    #[error("archive entry `{name}` names a path outside of the tree it is unpacked into")]
    Outside {
        /// The name in the archive.
        name: String,
    },
    /// An archive entry lies below something that is not a directory.
    #[error("archive entry `{name}` lies below something that is not a directory")]
    NotDirectory {
        /// The name in the archive.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A hard link's target does not exist in the tree, or cannot be linked.
    #[error("failed to link archive entry `{name}` to `{target}`")]
    LinkTarget {
        /// The name in the archive.
        name: String,
        /// The name it should be a link to.
        target: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A device node where devices may not be, or cannot be, made.
    #[error("archive entry `{name}` is a device node, which cannot be made here")]
    Device {
        /// The name in the archive.
        name: String,
        /// The kernel's answer, when it was asked.
        source: Option<io::Error>,
    },
    /// Something is already there and the extraction may not replace it.
    #[error("archive entry `{name}` is already there")]
    Exists {
        /// The name in the archive.
        name: String,
    },
    /// The caller's hook refused an entry.
    #[error("archive entry `{name}` was refused: {reason}")]
    Refused {
        /// The name in the archive.
        name: String,
        /// The hook's words.
        reason: String,
    },
    /// An owner that cannot be set, for example one that this user namespace does not map.
    #[error("failed to give {} to owner {uid}:{gid}", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Numeric user.
        uid: u32,
        /// Numeric group.
        gid: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// An extended attribute that cannot be set.
    #[error("failed to set the attribute {name} of {}", path.display())]
    Xattr {
        /// The file.
        path: PathBuf,
        /// The attribute's full name.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The archive does not follow the tar format.
    #[error("the archive is damaged at byte {offset}, {place}: {reason}")]
    Archive {
        /// Offset in the uncompressed archive.
        offset: u64,
        /// Which entry that is, or comes after.
        place: String,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The archive ends in the middle of an entry.
    #[error("the archive ends in the middle of `{name}`")]
    Truncated {
        /// The name in the archive, or what was being read.
        name: String,
    },
    /// Reading the blob failed, or it does not decompress.
    #[error("failed to read the archive's data")]
    Read {
        /// The reader's or the decompressor's answer.
        source: io::Error,
    },
    /// The archive is compressed in a way that is not allowed in this place.
    #[error("the archive is compressed with {format}, which a layer may not be")]
    Compression {
        /// Name of the format.
        format: &'static str,
    },
    /// Writing the archive out failed.
    #[error("failed to write the archive")]
    Write {
        /// The writer's answer.
        source: io::Error,
    },
    /// A file name that the layer format reserves for deletions.
    #[error("{} cannot be recorded: names that begin with `.wh.` mean deletions in a layer", path.display())]
    ReservedName {
        /// The file.
        path: PathBuf,
    },
    /// An overlay directory that refers to another one, which a layer cannot say.
    #[error("{} was renamed by reference (overlayfs redirect_dir or metacopy), which a layer cannot record", path.display())]
    Redirected {
        /// The directory or file.
        path: PathBuf,
    },
    /// A file changed its size while it was recorded.
    #[error("{} changed while it was recorded", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file would be copied over a directory.
    #[error("cannot replace the directory {} with a file", path.display())]
    OverDirectory {
        /// The destination.
        path: PathBuf,
    },
    /// A directory would be copied over a file.
    #[error("cannot copy a directory over {}, which is not a directory", path.display())]
    OverFile {
        /// The destination.
        path: PathBuf,
    },
    /// A worker thread stopped without an answer.
    #[error("a compression thread stopped")]
    Thread,
}

fn is_too_large(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TooLarge>())
}

impl LayerError {
    /// What a person can do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            LayerError::Owner { source, .. } if source.raw_os_error() == Some(22) => {
                "this user namespace does not map that id: give the user a range in /etc/subuid and /etc/subgid and install newuidmap (package uidmap)"
            }
            LayerError::Owner { .. } => {
                "changing owners needs root or a user namespace with mapped ids"
            }
            LayerError::Device { .. } => {
                "device nodes need real root; images seldom need them, since containers get their own /dev"
            }
            LayerError::Xattr { source, .. } if source.raw_os_error() == Some(95) => {
                "the file system of the store does not keep this kind of attribute"
            }
            LayerError::ReservedName { .. } => {
                "rename or remove the file in the step that makes it"
            }
            LayerError::Io { source, .. } | LayerError::Write { source } => {
                match source.raw_os_error() {
                    Some(28) => "the disk is full: free space, or put the store elsewhere",
                    Some(122) => "the disk quota is used up",
                    Some(24) => "too many open files: raise the limit (ulimit -n)",
                    _ => return None,
                }
            }
            LayerError::Read { source } if is_too_large(source) => {
                "it is a bomb, or holds little but zeros: keep such files with holes (tar --sparse), which do not count"
            }
            LayerError::Truncated { .. } | LayerError::Archive { .. } | LayerError::Read { .. } => {
                "the file is damaged or was not transferred completely: fetch it again"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the object simply is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, LayerError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LayerError {
        move |source| LayerError::Io { operation, path: path.to_path_buf(), source }
    }
}
