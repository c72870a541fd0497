//! What a whole Dockerfile has in common: arguments before the first FROM, names of stages, which
//! stages a target needs.

use std::collections::{BTreeMap, BTreeSet};

use anyarch_dockerfile::{Kind, Lexer, Stage};
use anyarch_oci::Platform;

use super::{Input, takes_from};
use crate::error::BuildError;
use crate::event::Origin;
use crate::named::Named;

/// The build arguments that need no ARG, in capital letters.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// What the whole file has in common: arguments before the first FROM, stage names.
pub(super) struct Reader<'a> {
    pub(super) input: &'a Input<'a>,
    pub(super) lexer: Lexer,
    /// Platform arguments and the ARGs before the first FROM, with their values.
    pub(super) globals: BTreeMap<String, String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a Input<'a>) -> Result<Reader<'a>, BuildError> {
        let lexer = Lexer::new(input.dockerfile.directives.escape);
        let mut reader = Reader { input, lexer, globals: platform_args(input) };
        for instruction in &input.dockerfile.meta_args {
            let Kind::Arg(definitions) = &instruction.kind else { continue };
            let origin = reader.origin(instruction.span.lines.start());
            for definition in definitions {
                let value = match (input.build_args.get(&definition.name), &definition.default) {
                    (Some(given), _) => given.clone(),
                    (None, Some(default)) => {
                        reader.expand_global(default).map_err(|error| error.at(Some(&origin)))?
                    }
                    (None, None) => continue,
                };
                reader.globals.insert(definition.name.clone(), value);
            }
        }
        Ok(reader)
    }

    /// The proxies that the command gives, which need no ARG (Dockerfile reference, "Predefined
    /// ARGs"); under both spellings, as programs differ in which they read.
    pub(super) fn proxies(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (name, value) in self.input.build_args {
            let upper = name.to_ascii_uppercase();
            if PROXIES.contains(&upper.as_str()) {
                all.insert(upper.to_ascii_lowercase(), value.clone());
                all.insert(upper, value.clone());
            }
        }
        all
    }

    pub(super) fn origin(&self, line: &usize) -> Origin {
        Origin { file: self.input.file.to_owned(), line: *line }
    }

    fn expand_global(&self, word: &str) -> Result<String, BuildError> {
        self.lexer
            .expand(word, &mut |name| self.globals.get(name).cloned())
            .map_err(|error| BuildError::input(format!("failed to expand `{word}`")).because(error))
    }

    /// Name and platform of a stage's base.
    pub(super) fn from(&self, stage: &Stage) -> Result<(String, Platform), BuildError> {
        let origin = self.origin(stage.span.lines.start());
        let read = || {
            let base = self.expand_global(&stage.base)?;
            if base.is_empty() {
                return Err(BuildError::input(format!(
                    "FROM {} names nothing: the variable is empty",
                    stage.base
                ))
                .hint("give the ARG a default, or pass it with --build-arg".to_owned()));
            }
            let platform = match &stage.platform {
                None => self.input.platform.clone(),
                Some(text) => self.expand_global(text)?.parse().map_err(|error| {
                    BuildError::input("FROM has a bad --platform").because(error)
                })?,
            };
            Ok((base, platform))
        };
        read().map_err(|error: BuildError| error.at(Some(&origin)))
    }

    /// What a named context of that name is; it goes before stages and images.
    pub(super) fn named(&self, name: &str) -> Option<Named> {
        self.input.named.get(&name.to_lowercase()).copied()
    }

    /// Whether a name means a tree that does not come from this file.
    pub(super) fn is_outside(&self, name: &str, at: usize) -> bool {
        match self.named(name) {
            Some(named) => named == Named::Tree,
            None => self.stage_before(name, at).is_none(),
        }
    }

    /// The stage that a name or number means, seen from stage `at`.
    pub(super) fn stage_before(&self, name: &str, at: usize) -> Option<usize> {
        match self.named(name) {
            Some(_) => None,
            None => self.stage(name, at),
        }
    }

    fn stage(&self, name: &str, at: usize) -> Option<usize> {
        let stages = &self.input.dockerfile.stages[..at];
        let named =
            |stage: &Stage| stage.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name));
        stages.iter().rposition(named).or_else(|| name.parse().ok().filter(|number| *number < at))
    }

    /// The stages that the target needs, in file order.
    pub(super) fn needed(&self) -> Result<Vec<usize>, BuildError> {
        let stages = &self.input.dockerfile.stages;
        let target = match self.input.target {
            None => stages.len().checked_sub(1),
            Some(name) => self.stage(name, stages.len()),
        };
        let target = target.ok_or_else(|| match self.input.target {
            Some(name) => {
                let names: Vec<&str> =
                    stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
                BuildError::input(format!("{} has no stage `{name}`", self.input.file))
                    .hint(format!("its stages are: {}", names.join(", ")))
            }
            None => BuildError::input(format!("{} has no stage", self.input.file)),
        })?;
        let mut needed = BTreeSet::new();
        let mut open = vec![target];
        while let Some(at) = open.pop() {
            if !needed.insert(at) {
                continue;
            }
            let (base, _) = self.from(&stages[at])?;
            open.extend(self.stage_before(&base, at));
            let froms = stages[at].instructions.iter().flat_map(takes_from);
            open.extend(froms.filter_map(|from| self.stage_before(&from, at)));
        }
        Ok(needed.into_iter().collect())
    }
}

/// The automatic platform arguments (Dockerfile reference, "Automatic platform ARGs").
fn platform_args(input: &Input<'_>) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for (prefix, platform) in [("TARGET", input.platform), ("BUILD", input.build_platform)] {
        args.insert(format!("{prefix}PLATFORM"), platform.to_string());
        args.insert(format!("{prefix}OS"), platform.os.clone());
        args.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        args.insert(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    args.insert("TARGETSTAGE".to_owned(), input.target.unwrap_or("default").to_owned());
    args
}
