//! `RUN --mount`: the flag's value to a typed mount.
//!
//! Values may hold variables, so a mount stays text until the environment is known; what does
//! not depend on variables is checked while the Dockerfile is parsed.

use std::ops::Range;

use crate::csv::fields;
use crate::diagnostic::closest;
use crate::expand_error::ExpandError;
use crate::lexer::{Lexer, Lookup};
use crate::mount_error::{KEYS, MountError, MountProblem};
use crate::units::{parse_bool, parse_size};

/// A `--mount` flag as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The value of the flag, unexpanded.
    pub text: String,
    /// Where the value stands in the Dockerfile.
    pub span: Range<usize>,
}

/// A mount with all values known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvedMount {
    /// What is mounted.
    pub kind: MountKind,
    /// The stage, named context or image that `source` is in; the build context otherwise.
    pub from: Option<String>,
    /// The path in the source, or for secrets the file in the client.
    pub source: Option<String>,
    /// Where to mount.
    pub target: Option<String>,
    /// Whether the step may not write; by default true but for caches and tmpfs.
    pub read_only: bool,
    /// Name of the cache, secret or ssh agent.
    pub id: Option<String>,
    /// How steps share a cache.
    pub sharing: Option<Sharing>,
    /// Whether a missing secret or ssh agent fails the step.
    pub required: bool,
    /// Size limit of a tmpfs in bytes.
    pub size: Option<u64>,
    /// Permission bits of a cache directory, secret or socket.
    pub mode: Option<u32>,
    /// Owner of a cache directory, secret or socket.
    pub uid: Option<u32>,
    /// Group of a cache directory, secret or socket.
    pub gid: Option<u32>,
    /// The environment variable that takes a secret's value.
    pub env: Option<String>,
}

/// The `type` of a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory kept between builds.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret file or variable.
    Secret,
    /// An ssh agent's socket.
    Ssh,
}

impl MountKind {
    const ALL: [(&'static str, Self); 5] = [
        ("bind", Self::Bind),
        ("cache", Self::Cache),
        ("tmpfs", Self::Tmpfs),
        ("secret", Self::Secret),
        ("ssh", Self::Ssh),
    ];

    /// The word after `type=`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// The `sharing` of a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Several steps at once.
    Shared,
    /// Each step that comes while others run gets its own.
    Private,
    /// One step after the other.
    Locked,
}

impl Sharing {
    const ALL: [(&'static str, Self); 3] =
        [("shared", Self::Shared), ("private", Self::Private), ("locked", Self::Locked)];
}

impl Mount {
    /// Expands and checks the mount.
    ///
    /// # Errors
    /// Unknown keys, values that do not fit, combinations that the mount's type does not allow.
    pub fn resolve(
        &self,
        lexer: &Lexer,
        lookup: &mut Lookup<'_>,
    ) -> Result<ResolvedMount, MountError> {
        self.read(&mut |value| lexer.expand(value, lookup).map(Some)).map(|(mount, _)| mount)
    }

    /// The stage, named context or image that the mount takes from; no variable can be in it. `None`
    /// also where the mount is not valid, which [`Mount::resolve`] tells.
    pub fn from(&self) -> Option<String> {
        let fields = fields(&self.text)?;
        let value = fields.iter().find_map(|(field, _)| {
            (field_key(field) == "from").then(|| field.split_once('=')).flatten()
        });
        value.map(|(_, value)| value.to_owned())
    }

    /// Checks what does not depend on variables.
    pub(crate) fn check(&self, lexer: &Lexer) -> Result<(), MountError> {
        let expand = &mut |value: &str| {
            if value.contains('$') {
                Ok(None)
            } else {
                lexer.expand(value, &mut |_| None).map(Some)
            }
        };
        self.read(expand).map(|_| ())
    }

    /// Reads the fields; values for which `expand` gives nothing are not known yet, and then the
    /// rules that need the whole mount are not checked. Says whether all is known.
    fn read(&self, expand: &mut Expand<'_>) -> Result<(ResolvedMount, bool), MountError> {
        let fail =
            |field: Range<usize>, problem| MountError { mount: self.text.clone(), field, problem };
        let whole = 0..self.text.len();
        let mut mount = ResolvedMount::default();
        let mut read_only = None;
        let mut complete = true;
        let fields = fields(&self.text).ok_or_else(|| fail(whole.clone(), MountProblem::Quotes))?;
        for (field, range) in &fields {
            match read_field(&mut mount, &mut read_only, field, expand) {
                Ok(known) => complete &= known,
                Err(problem) => return Err(fail(range.clone(), problem)),
            }
        }
        mount.read_only =
            read_only.unwrap_or(!matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs));
        if complete {
            check_kind(&mount).map_err(|(key, problem)| {
                let at =
                    fields.iter().find(|(field, _)| key.is_some_and(|key| field_key(field) == key));
                fail(at.map_or(whole, |(_, range)| range.clone()), problem)
            })?;
        }
        Ok((mount, complete))
    }
}

type Expand<'a> = dyn FnMut(&str) -> Result<Option<String>, ExpandError> + 'a;

fn field_key(field: &str) -> String {
    field.split('=').next().unwrap_or_default().to_lowercase()
}

/// Reads one field into `mount`. Says whether its value is known.
fn read_field(
    mount: &mut ResolvedMount,
    read_only: &mut Option<bool>,
    field: &str,
    expand: &mut Expand<'_>,
) -> Result<bool, MountProblem> {
    let key = field_key(field);
    if !KEYS.contains(&key.as_str()) {
        let suggestion = closest(&key, KEYS);
        return Err(MountProblem::UnknownKey { key, suggestion });
    }
    let Some((_, raw)) = field.split_once('=') else {
        match key.as_str() {
            "readonly" | "ro" => *read_only = Some(true),
            "readwrite" | "rw" => *read_only = Some(false),
            "required" => mount.required = true,
            _ => return Err(MountProblem::MissingValue(key)),
        }
        return Ok(true);
    };
    if key == "from" && raw.contains('$') {
        return Err(MountProblem::VariableInFrom);
    }
    let Some(value) = expand(raw).map_err(MountProblem::Expand)? else { return Ok(false) };
    let invalid = |suggestion| MountProblem::InvalidValue {
        key: key.clone(),
        value: value.clone(),
        suggestion,
    };
    let boolean = || parse_bool(&value).ok_or_else(|| invalid(None));
    let number = |radix| u32::from_str_radix(&value, radix).map_err(|_| invalid(None));
    match key.as_str() {
        "type" => mount.kind = choose(&MountKind::ALL, &value).map_err(invalid)?,
        "sharing" => mount.sharing = Some(choose(&Sharing::ALL, &value).map_err(invalid)?),
        "readonly" | "ro" => *read_only = Some(boolean()?),
        "readwrite" | "rw" => *read_only = Some(!boolean()?),
        "required" => mount.required = boolean()?,
        "size" => mount.size = Some(parse_size(&value).ok_or_else(|| invalid(None))?),
        "mode" => mount.mode = Some(number(8)?),
        "uid" => mount.uid = Some(number(10)?),
        "gid" => mount.gid = Some(number(10)?),
        "from" => mount.from = Some(value),
        "source" | "src" => mount.source = Some(value),
        "target" | "dst" | "destination" => mount.target = Some(value),
        "id" => mount.id = Some(value),
        "env" => mount.env = Some(value),
        _ => return Err(MountProblem::UnknownKey { key, suggestion: None }),
    }
    Ok(true)
}

/// The choice named `word`, in any case; else the name that may be meant.
fn choose<T: Copy>(choices: &[(&'static str, T)], word: &str) -> Result<T, Option<&'static str>> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        closest(word, &names)
    })
}

/// The rules that depend on the mount's type; names the key that breaks one.
fn check_kind(mount: &ResolvedMount) -> Result<(), (Option<&'static str>, MountProblem)> {
    use MountKind::{Cache, Secret, Ssh, Tmpfs};
    let kind = mount.kind;
    let rules: [(&'static str, bool, &[MountKind]); 8] = [
        ("mode", mount.mode.is_some(), &[Secret, Ssh, Cache]),
        ("uid", mount.uid.is_some(), &[Secret, Ssh, Cache]),
        ("gid", mount.gid.is_some(), &[Secret, Ssh, Cache]),
        ("required", mount.required, &[Secret, Ssh]),
        ("size", mount.size.is_some(), &[Tmpfs]),
        ("sharing", mount.sharing.is_some(), &[Cache]),
        ("env", mount.env.is_some(), &[Secret]),
        ("from", mount.from.is_some(), &[MountKind::Bind, Cache, Tmpfs, Ssh]),
    ];
    for (key, given, kinds) in rules {
        if given && !kinds.contains(&kind) {
            return Err((Some(key), MountProblem::NotForKind { key, kind: kind.name() }));
        }
    }
    if kind == Secret {
        if mount.source.is_none() && mount.target.is_none() && mount.id.is_none() {
            return Err((None, MountProblem::UnnamedSecret));
        }
        if mount.source.is_some() && mount.id.is_some() {
            return Err((Some("id"), MountProblem::TwoNames));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "mount_tests.rs"]
mod tests;
