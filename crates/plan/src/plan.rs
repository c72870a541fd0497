//! The typed plan: every name resolved, every platform parsed, every default filled in.
//!
//! Made by [`crate::check`] only. Paths are as written, relative to the folder of the plan file;
//! nothing here has looked at a disk.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use anyarch_oci::Platform;

use crate::context::ContextSource;
use crate::diagnostic::Diagnostic;
use crate::tags::LocalTags;

/// 1980-01-01T00:00:00Z, the earliest time that every archive format can hold.
pub const DEFAULT_EPOCH: i64 = 315_532_800;

/// A checked plan.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names, version and context of the whole family.
    pub project: Project,
    /// Where packages come from.
    pub sources: Sources,
    /// Images made from packages, by name; usable as `FROM name`.
    pub bases: BTreeMap<String, Base>,
    /// Flavors in the order of the file.
    pub flavors: Vec<Flavor>,
    /// Every flavor on each of its platforms, in the order of the file.
    pub members: Vec<Member>,
    /// Templates of local and published tags.
    pub tags: TagTemplates,
    /// Published indexes, in the order of the file.
    pub indexes: Vec<Index>,
    /// Findings that do not keep the plan from being used.
    pub warnings: Vec<Diagnostic>,
    /// Local tags of each tier of each member, rendered once while checking.
    pub(crate) local_tags: Vec<Vec<LocalTags>>,
    /// Byte offset of the start of each line of the file.
    pub(crate) line_starts: Vec<usize>,
}

/// The `[project]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Repository of the local tags.
    pub name: String,
    /// Where `publish` goes, `HOST/PATH` without tag or digest.
    pub repository: Option<String>,
    /// Where the version of a publication comes from.
    pub version: Version,
    /// Build context of tiers that name none.
    pub context: String,
    /// Latest time of any file in a layer, seconds since 1970; also `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: i64,
}

/// Source of the version `V` in tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The `v…` tag on the commit that is checked out.
    Git,
    /// Written in the plan.
    Literal(String),
    /// None unless given on the command line.
    None,
}

/// The `[sources]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Debian archives, most wanted first; empty when the plan names none.
    pub debian: Vec<DebianSource>,
}

/// One Debian archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebianSource {
    /// Root of the archive (the folder that holds `dists/`).
    pub uri: String,
    /// Suites to read; empty means the suite of the base.
    pub suites: Vec<String>,
    /// Components to read; empty means those of the base.
    pub components: Vec<String>,
    /// Keyring file that the archive is signed with, when not Debian's own keys.
    pub signed_by: Option<String>,
    /// Root of the archive of security updates (its suites end in `-security`).
    pub security: Option<String>,
    /// Place in the file.
    pub span: Range<usize>,
}

/// A `[base.NAME]` table: an image made from Debian packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Name for `FROM`.
    pub name: String,
    /// Base that this one adds packages to; `None` when `debian` is given.
    pub from: Option<String>,
    /// Suite, such as `bookworm`; `None` when `from` is given.
    pub debian: Option<String>,
    /// Packages to install besides the essential ones.
    pub packages: Vec<String>,
    /// Components of the archive; empty means those of `from`, or else `main`.
    pub components: Vec<String>,
    /// Whether recommended packages are installed too.
    pub recommends: bool,
    /// Place of the name in the file.
    pub span: Range<usize>,
    /// Place of each package in the file, as `packages`.
    pub package_spans: Vec<Range<usize>>,
}

/// A `[flavor.NAME]` table, less its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flavor {
    /// Name, such as `cpu`.
    pub name: String,
    /// Device that its images are for, such as `cuda`.
    pub accelerator: Option<String>,
    /// Place of the name in the file.
    pub span: Range<usize>,
    /// Place of the list of platforms in the file.
    pub platforms_span: Range<usize>,
}

/// One flavor on one platform: a chain of tiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of the flavor.
    pub flavor: String,
    /// What the images run on.
    pub platform: Platform,
    /// Device that the images are for.
    pub accelerator: Option<String>,
    /// The chain, each built `FROM` the one before; never empty.
    pub tiers: Vec<Tier>,
    /// Command that must succeed in the last image before it is published.
    pub smoke: Option<Vec<String>>,
    /// Place of the platform in the file.
    pub span: Range<usize>,
}

/// One image of a chain, with the overrides of its platform applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Name, such as `base`.
    pub name: String,
    /// Path of the Dockerfile, relative to the plan's folder.
    pub dockerfile: String,
    /// Stage to build; the last one when absent.
    pub target: Option<String>,
    /// Build arguments besides the ones that are always set.
    pub build_args: BTreeMap<String, String>,
    /// Build context, relative to the plan's folder; the project's when absent.
    pub context: Option<String>,
    /// Named contexts: what `FROM NAME` and `--from=NAME` mean in its Dockerfile.
    pub contexts: BTreeMap<String, ContextSource>,
    /// Place of the tier in the file.
    pub span: Range<usize>,
    /// Place of the Dockerfile's path in the file.
    pub dockerfile_span: Range<usize>,
}

/// An `[index.NAME]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Name, which is its moving tag.
    pub name: String,
    /// Positions in [`Plan::members`], in the order of the index: the first match of a pull wins.
    pub members: Vec<usize>,
    /// Place of the name in the file.
    pub span: Range<usize>,
}

/// Templates of tags (minijinja). Which variables they may use: [`crate::tags::VARIABLES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagTemplates {
    /// Local tags of one image.
    pub local: Vec<TagTemplate>,
    /// Local tags that gather the architectures of one tier of a flavor.
    pub gathered: Vec<TagTemplate>,
    /// Published tags of the last tier of a member.
    pub publish: Vec<TagTemplate>,
    /// Published tags of a whole flavor.
    pub publish_flavor: Vec<TagTemplate>,
    /// Published tags of the tiers before the last.
    pub publish_tier: Vec<TagTemplate>,
    /// Published tags of an index.
    pub index: Vec<TagTemplate>,
}

/// One template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagTemplate {
    /// The template as written.
    pub source: String,
    /// Place in the file; `None` for a default.
    pub span: Option<Range<usize>>,
}

impl Plan {
    /// Line of the file, counted from 1, that holds the byte at `offset`.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    /// The flavor of that name.
    pub fn flavor(&self, name: &str) -> Option<&Flavor> {
        self.flavors.iter().find(|flavor| flavor.name == name)
    }

    /// Positions in [`Plan::members`] of the members of a flavor.
    pub fn members_of(&self, flavor: &str) -> Vec<usize> {
        let of_flavor = |(_, member): &(usize, &Member)| member.flavor == flavor;
        self.members.iter().enumerate().filter(of_flavor).map(|(at, _)| at).collect()
    }

    /// The flavor that an architecture alone stands for (`arm64` for `cpu/arm64`): the first one
    /// on that platform without an accelerator, else the first one on it.
    pub fn plain_flavor(&self, arch: &str) -> Option<&str> {
        let on_arch = || self.members.iter().filter(|member| member.arch() == arch);
        on_arch()
            .find(|member| member.accelerator.is_none())
            .or_else(|| on_arch().next())
            .map(|member| member.flavor.as_str())
    }

    /// A base and those under it, the one with a suite first; empty when there is no such base.
    pub fn base_chain(&self, name: &str) -> Vec<&Base> {
        let mut chain = Vec::new();
        let mut next = self.bases.get(name);
        while let Some(base) = next {
            chain.push(base);
            next = base.from.as_ref().and_then(|from| self.bases.get(from));
        }
        chain.reverse();
        chain
    }

    /// The Debian suite under a base.
    pub fn base_suite(&self, name: &str) -> Option<&str> {
        self.base_chain(name).first().and_then(|base| base.debian.as_deref())
    }
}

impl Member {
    /// Short name of the architecture: `amd64`, `arm64`, `armv7`.
    pub fn arch(&self) -> String {
        self.platform.short_arch()
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.flavor, self.arch())
    }
}
