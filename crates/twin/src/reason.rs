//! Why a program is emulated although the table has it.

use std::fmt;
use std::path::PathBuf;

/// A program that will be emulated although the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The program.
    pub path: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// Why a program is emulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Machines of the platform are too unlike this one.
    OtherPlatform,
    /// One of the trees has no package database, or both have different ones.
    NoDatabase,
    /// The tree has a file of libraries that are loaded into every program.
    Preload,
    /// The twin's tree has no such program.
    NoTwin,
    /// It belongs to no package, on one side at least.
    Unpackaged(PathBuf),
    /// The package has other versions.
    OtherVersion {
        /// Its name.
        package: String,
        /// Version on the step's side.
        foreign: String,
        /// Version on the twin's side.
        native: String,
    },
    /// The twins' tree has it for another machine than this.
    OtherMachine(PathBuf),
    /// The loader might take a library that is made for some processors of this machine only.
    Hwcaps(PathBuf),
    /// Its package is another than the table knows.
    OtherPackage(String),
    /// A file is not as its package installed it.
    Changed(PathBuf),
    /// A library of the twin cannot be found.
    NoLibrary(String),
    /// The twin is static, so it cannot be run with libraries of its own.
    Static,
    /// The names of the architectures differ in length, or are not in the program.
    Unpatchable,
    /// Directories of its own modules hold other files than the twin's.
    OtherModules(PathBuf),
    /// The C library of the twin is too old, or unknown.
    OldLibc(String),
    /// Too many files to look at.
    TooManyDependencies,
    /// What the program is to be given cannot be found.
    NoSettings(String),
    /// A file could not be read.
    Unreadable(PathBuf),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::OtherPlatform => write!(f, "its platform has no twins"),
            Reason::NoDatabase => {
                write!(f, "its tree has no package database, or the native one another")
            }
            Reason::Preload => write!(f, "its tree has /etc/ld.so.preload"),
            Reason::NoTwin => write!(f, "the native tree does not have it"),
            Reason::Unpackaged(path) => write!(f, "{} belongs to no package", path.display()),
            Reason::OtherVersion { package, foreign, native } => {
                write!(f, "package {package} is {foreign} here and {native} natively")
            }
            Reason::OtherMachine(path) => {
                write!(f, "the native tree's {} is for another machine", path.display())
            }
            Reason::Hwcaps(path) => write!(f, "the native tree has {}", path.display()),
            Reason::OtherPackage(name) => {
                write!(f, "the table does not know the one of package {name}")
            }
            Reason::Changed(path) => {
                write!(f, "{} is not as its package installed it", path.display())
            }
            Reason::NoLibrary(name) => write!(f, "the native tree lacks its library {name}"),
            Reason::Static => write!(f, "the native program is static"),
            Reason::Unpatchable => write!(f, "its architecture cannot be replaced"),
            Reason::OtherModules(path) => {
                write!(f, "{} holds other modules than natively", path.display())
            }
            Reason::OldLibc(version) => write!(f, "the native C library is {version}"),
            Reason::TooManyDependencies => write!(f, "it needs too many files"),
            Reason::NoSettings(what) => write!(f, "there is no {what}"),
            Reason::Unreadable(path) => write!(f, "{} cannot be read", path.display()),
        }
    }
}
