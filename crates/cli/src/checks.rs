//! Checks of Dockerfiles, given what the command line knows of them: the plan, the build context
//! and its ignore file. Used by `check`, and by the verbs that build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyarch_dockerfile::checks::{self, Checked, Facts, Inherited, Options};
use anyarch_dockerfile::{Diagnostic, IgnoreFile};
use anyarch_plan::{Plan, Selection};

use crate::diagnostic::{Finding, Severity, Source, line_and_column};
use crate::failure::Failure;
use crate::files;
use crate::findings::Findings;
use crate::global::Global;
use crate::{output, text};

/// The build argument that replaces the options in the file, as BuildKit has it.
const OPTIONS_ARG: &str = "BUILDKIT_DOCKERFILE_CHECK";
/// What `BASE_IMAGE` is taken for: the name of no image.
const BELOW: &str = "tier-below";

/// A Dockerfile and what belongs to it.
pub(crate) struct Subject<'a> {
    /// Its text.
    pub(crate) source: &'a Source,
    /// Its ignore file.
    pub(crate) ignore: Option<&'a IgnoreFile>,
    /// Its build context.
    pub(crate) context: Option<&'a Path>,
    /// Values for ARG.
    pub(crate) build_args: BTreeMap<String, String>,
    /// Whether a plan gives them.
    pub(crate) is_planned: bool,
}

impl Subject<'_> {
    /// Checks it; `base` says what is known of the images that FROM names.
    pub(crate) fn check(
        &self,
        base: &dyn Fn(&str) -> Option<Inherited>,
    ) -> Result<Checked, Failure> {
        let options = self.build_args.get(OPTIONS_ARG).map(|text| options(text)).transpose()?;
        let facts = Facts {
            build_args: &self.build_args,
            args_are_fixed: self.is_planned,
            base,
            ignore: self.ignore,
            is_dir: &|path| self.context.is_some_and(|context| context.join(path).is_dir()),
            options: options.as_ref(),
        };
        Ok(checks::check(&self.source.text, &facts))
    }
}

fn options(text: &str) -> Result<Options, Failure> {
    let (options, faults) = Options::parse(text);
    match faults.first() {
        None => Ok(options),
        Some(fault) => {
            let Diagnostic { message, label, .. } = fault.diagnostic(0..0);
            Err(Failure::usage(format!("{OPTIONS_ARG}={text}: {message}"))
                .hint((!label.is_empty()).then_some(label)))
        }
    }
}

/// A tier of a plan, checked.
pub(crate) struct CheckedTier {
    /// Which member and tier.
    pub(crate) selection: Selection,
    /// Its Dockerfile; `Err` where that cannot be read.
    pub(crate) dockerfile: Result<(Source, Checked), Failure>,
    /// Its ignore file, where that cannot be used.
    pub(crate) bad_ignore_file: Option<(Source, Finding)>,
}

/// Checks the Dockerfiles of all tiers, the ones of a member from below.
pub(crate) fn tiers(global: &Global, plan: &Plan) -> Result<Vec<CheckedTier>, Failure> {
    let mut checked = Vec::new();
    for member in 0..plan.members.len() {
        let mut below = None;
        for tier in 0..plan.members[member].tiers.len() {
            let selection = Selection { member, tier };
            let done = self::tier(global, plan, selection, below.take())?;
            below = done.dockerfile.as_ref().ok().and_then(|(_, checked)| {
                leaves(checked, plan.members[member].tiers[tier].target.as_deref())
            });
            checked.push(done);
        }
    }
    Ok(checked)
}

fn tier(
    global: &Global,
    plan: &Plan,
    selection: Selection,
    below: Option<Inherited>,
) -> Result<CheckedTier, Failure> {
    let tier = &plan.members[selection.member].tiers[selection.tier];
    let context =
        files::beside_plan(global, tier.context.as_deref().unwrap_or(&plan.project.context));
    let path = files::beside_plan(global, &tier.dockerfile);
    let (ignore, bad_ignore_file) = ignore_file(&path, &context);
    let source = match files::read(&path) {
        Ok(source) => source,
        Err(failure) => {
            return Ok(CheckedTier { selection, dockerfile: Err(failure), bad_ignore_file });
        }
    };
    let mut build_args = tier.build_args.clone();
    if selection.tier > 0 {
        build_args.entry("BASE_IMAGE".to_owned()).or_insert_with(|| BELOW.to_owned());
    }
    let subject = Subject {
        source: &source,
        ignore: ignore.as_ref(),
        context: Some(&context),
        build_args,
        is_planned: true,
    };
    let checked = subject.check(&|name| match name {
        BELOW => below.clone(),
        // A base made from packages has nothing but a PATH.
        name => plan.bases.contains_key(name).then(Inherited::default),
    })?;
    Ok(CheckedTier { selection, dockerfile: Ok((source, checked)), bad_ignore_file })
}

/// What the stage that is built leaves to the tier above.
fn leaves(checked: &Checked, target: Option<&str>) -> Option<Inherited> {
    let stages = &checked.file.stages;
    let at = match target {
        None => stages.len().checked_sub(1),
        Some(name) => stages
            .iter()
            .rposition(|stage| {
                stage.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
            })
            .or_else(|| name.parse().ok()),
    };
    checked.stages.get(at?).cloned()
}

/// The ignore file of a Dockerfile: its own, else that of the context. One that cannot be used is a
/// finding.
pub(crate) fn ignore_file(
    dockerfile: &Path,
    context: &Path,
) -> (Option<IgnoreFile>, Option<(Source, Finding)>) {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    let candidates = [PathBuf::from(own), context.join(".dockerignore")];
    let Some(path) = candidates.into_iter().find(|path| path.is_file()) else {
        return (None, None);
    };
    let path = path.strip_prefix(".").unwrap_or(&path);
    let Ok(source) = files::read(path) else { return (None, None) };
    match IgnoreFile::parse(&source.text) {
        Ok(ignore) => (Some(ignore), None),
        Err(wrong) => {
            let span = crate::diagnostic::line_span(&source.text, wrong.line).unwrap_or(0..0);
            let finding = Finding {
                severity: Severity::Error,
                code: "bad-ignore-pattern".to_owned(),
                message: wrong.to_string(),
                span,
                label: wrong.source.to_string(),
                hint: wrong.hint(),
            };
            (None, Some((source, finding)))
        }
    }
}

/// What a build says of the checks of BuildKit; all else is for `check`.
#[derive(Default)]
pub(crate) struct Notes(Findings);

impl Notes {
    /// Of the Dockerfiles of a plan that are built for these selections.
    ///
    /// # Errors
    /// Where a Dockerfile says that what is found forbids the build; that is printed.
    pub(crate) fn of_plan(
        global: &Global,
        plan: &Plan,
        selections: &[Selection],
    ) -> Result<Notes, Failure> {
        let is_built = |at: &Selection| {
            selections.iter().any(|wanted| wanted.member == at.member && at.tier <= wanted.tier)
        };
        let mut notes = Notes::default();
        for tier in tiers(global, plan)?.into_iter().filter(|tier| is_built(&tier.selection)) {
            // What cannot be read is the build's to report.
            if let Ok((source, checked)) = tier.dockerfile {
                notes.add(source, checked);
            }
        }
        notes.settled()
    }

    /// Of one Dockerfile.
    ///
    /// # Errors
    /// As for a plan.
    pub(crate) fn of_one(subject: &Subject<'_>, plan: &Plan) -> Result<Notes, Failure> {
        let mut notes = Notes::default();
        notes.add(subject.source.clone(), subject.check(&base_of(plan))?);
        notes.settled()
    }

    fn add(&mut self, source: Source, checked: Checked) {
        let is_note = |finding: &Diagnostic| {
            checks::find(finding.code).is_some_and(checks::Rule::is_buildkit)
        };
        let found = checked.findings.into_iter().filter(is_note).map(Finding::from).collect();
        self.0.merge(source, found);
    }

    fn settled(self) -> Result<Notes, Failure> {
        match self.0.counts() {
            (0, _) => Ok(self),
            (errors, _) => {
                self.0.say();
                let found = text::count(errors, "finding");
                Err(Failure::usage(format!("{found} in a Dockerfile that allows none"))
                    .hint("it has `# check=error=true`; `skip=NAME` takes a check out".to_owned()))
            }
        }
    }

    /// Says them in a line each, as docker does.
    pub(crate) fn say(&self, global: &Global) {
        let (_, warnings) = self.0.counts();
        if warnings == 0 || global.quiet {
            return;
        }
        let mut said = format!(
            "{} in Dockerfiles (`anyarch check` shows more):\n",
            text::count(warnings, "warning")
        );
        for (source, finding) in self.0.all() {
            let (line, _) = line_and_column(&source.text, finding.span.start);
            said.push_str(&format!(
                "  {}: {} ({}:{line})\n",
                finding.code, finding.message, source.name
            ));
        }
        output::say(&said);
    }
}

/// What is known of images beside the tables of a plan.
pub(crate) fn base_of(plan: &Plan) -> impl Fn(&str) -> Option<Inherited> + '_ {
    move |name| plan.bases.contains_key(name).then(Inherited::default)
}
