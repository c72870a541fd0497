//! `anyarch tags`: what a repository's tags point to, and which of them may go.

use std::time::{Duration, SystemTime};

use anyarch_engine::Place;
use anyarch_oci::{Digest, Reference, Tag};
use anyarch_plan::pattern_matches;
use anyarch_registry::Repository;
use anyarch_registry::retention::{
    Applied, LocalRepository, Policy, RemoteRepository, Removal, Survey, TagVersion,
    TaggedRepository, Verdict, apply, choose, plan_removal,
};
use clap::Subcommand;
use serde::Serialize;

use crate::failure::Failure;
use crate::global::Global;
use crate::{files, host, output, publication, text};

/// List the tags of a repository, or delete old ones
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true, subcommand_value_name = "COMMAND")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: TagsVerb,
}

#[derive(Debug, Subcommand)]
enum TagsVerb {
    Ls(LsArgs),
    Prune(PruneArgs),
}

/// List the tags of a repository, with platforms, sizes and ages
#[derive(Debug, clap::Args)]
struct LsArgs {
    #[command(flatten)]
    of: RepositoryArgs,
    /// Give the list as JSON
    #[arg(long)]
    json: bool,
}

/// Delete old tags and the images that nothing else reaches
///
/// Shows what would be deleted, and deletes with --apply only. What a kept tag, a kept index or a
/// kept signature reaches always stays; where both --keep and --older-than are given, a tag must be
/// beyond both.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("limit").args(["keep", "older_than"]).required(true).multiple(true))]
struct PruneArgs {
    #[command(flatten)]
    of: RepositoryArgs,
    /// Think of tags that match this pattern only, in which `*` is any text and `?` any character
    /// [default: tags that carry a version, such as `v1.2.0-cpu-amd64`]
    #[arg(long = "match", value_name = "GLOB")]
    patterns: Vec<String>,
    /// Keep so many of the newest versions; all tags of one version count as one
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    /// Keep tags up to this age: a number of hours, days or weeks, such as `12h`, `30d` or `4w`;
    /// tags of unknown age stay
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// Delete, instead of showing what would be deleted
    #[arg(long)]
    apply: bool,
    /// Give the result as JSON
    #[arg(long)]
    json: bool,
}

/// Which repository.
#[derive(Debug, clap::Args)]
struct RepositoryArgs {
    /// HOST/PATH [default: `repository` of the plan, or else the project's in the embedded registry]
    #[arg(value_name = "REPOSITORY")]
    repository: Option<String>,
}

/// A tag, as `ls --json` gives it.
#[derive(Serialize)]
struct Row {
    tag: String,
    digest: String,
    platforms: Vec<String>,
    size: u64,
    /// Seconds since 1970.
    time: Option<u64>,
}

/// What becomes of a tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    /// It goes with its manifest.
    Delete,
    /// It goes, and its manifest stays.
    Untag,
    /// It would go alone, which this registry cannot do.
    Left,
    /// It stays.
    Keep,
}

/// What becomes of a tag, as `prune --json` gives it.
#[derive(Serialize)]
struct Pruned {
    fate: Fate,
    tag: String,
    digest: String,
    /// Seconds since 1970.
    time: Option<u64>,
    why: String,
    #[serde(skip)]
    age: String,
}

/// All of it, as `prune --json` gives it.
#[derive(Serialize)]
struct Report {
    repository: String,
    applied: bool,
    tags: Vec<Pruned>,
    /// Manifests that go, in this order; some have no tag.
    manifests: Vec<String>,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    match &args.verb {
        TagsVerb::Ls(args) => {
            let place = place(&args.of, global)?;
            with_repository(&place, global, |repository| list(args, repository))
        }
        TagsVerb::Prune(args) => {
            let place = place(&args.of, global)?;
            with_repository(&place, global, |repository| prune(args, &place, repository))
        }
    }
}

/// The repository that was named, or else that of the plan.
fn place(args: &RepositoryArgs, global: &Global) -> Result<Place, Failure> {
    match &args.repository {
        Some(text) => publication::repository(text, "look at"),
        None => publication::place(None, &files::load_plan(global)?),
    }
}

/// Opens the way there, and does something with it.
fn with_repository<T>(
    place: &Place,
    global: &Global,
    work: impl FnOnce(&dyn TaggedRepository) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(registry) = &place.registry else {
        let store = global.open_store()?;
        return work(&LocalRepository { store: &store, name: &place.repository });
    };
    let quiet = global.quiet;
    let http = host::client(move |message| {
        if !quiet {
            output::say(&format!("warning: {message}\n"));
        }
    })?;
    let client = host::registry_client(global, http)?;
    let repository = Repository::of(&Reference {
        registry: Some(registry.clone()),
        repository: place.repository.clone(),
        tag: None,
        digest: None,
    });
    work(&RemoteRepository { client: &client, repository: &repository })
}

fn list(args: &LsArgs, repository: &dyn TaggedRepository) -> Result<(), Failure> {
    let survey = Survey::of(repository)?;
    if args.json {
        let rows: Vec<Row> = survey
            .tags
            .iter()
            .map(|row| Row {
                tag: row.state.tag.to_string(),
                digest: row.state.digest.to_string(),
                platforms: row.platforms.clone(),
                size: row.size,
                time: row.state.time.map(seconds),
            })
            .collect();
        return output::print_json(&rows);
    }
    let now = SystemTime::now();
    let cells: Vec<[String; 5]> = survey
        .tags
        .iter()
        .map(|row| {
            [
                row.state.tag.to_string(),
                short(&row.state.digest),
                row.platforms.join(", "),
                text::bytes(row.size),
                age_of(row.state.time, now),
            ]
        })
        .collect();
    output::print(&text::table(["TAG", "DIGEST", "PLATFORMS", "SIZE", "AGE"], &cells))
}

fn prune(
    args: &PruneArgs,
    place: &Place,
    repository: &dyn TaggedRepository,
) -> Result<(), Failure> {
    let mut survey = Survey::of(repository)?;
    let policy = Policy { keep: args.keep, older_than: args.older_than, now: SystemTime::now() };
    let verdicts = choose(&survey.states(), |tag| covers(&args.patterns, tag), &policy);
    let (tags, graph) = survey.reach(repository, &verdicts)?;
    let removal = plan_removal(&tags, &graph);
    let mut applied = Applied::default();
    if args.apply {
        applied = apply(repository, &survey.states(), &removal, |_| {})?;
    }
    let fates = fates(&survey, &verdicts, &removal, &applied, args, policy.now);
    let unknown = verdicts.iter().filter(|verdict| **verdict == Verdict::UnknownAge).count();
    if args.json {
        output::print_json(&Report {
            repository: place.to_string(),
            applied: args.apply,
            tags: fates,
            manifests: removal.delete.iter().map(ToString::to_string).collect(),
        })?;
    } else {
        let rows: Vec<[String; 5]> = fates
            .into_iter()
            .map(|row| [row.fate.word().to_owned(), row.tag, row.digest, row.age, row.why])
            .collect();
        output::print(&text::table(["", "TAG", "DIGEST", "AGE", "WHY"], &rows))?;
    }
    if unknown > 0 {
        let tags = text::count(unknown, "tag");
        output::say(&format!("warning: the age of {tags} is not known; they stay\n"));
    }
    if !applied.left.is_empty() {
        let left: Vec<String> = applied.left.iter().map(Tag::to_string).collect();
        output::say(&format!(
            "warning: this registry cannot take away a tag and leave its image; left: {}\n",
            text::listing(&left)
        ));
    }
    output::say(&summary(args, place, &removal, &applied));
    Ok(())
}

/// Whether `prune` is about a tag.
fn covers(patterns: &[String], tag: &Tag) -> bool {
    match patterns {
        [] => TagVersion::of(tag).is_some(),
        patterns => patterns.iter().any(|pattern| pattern_matches(pattern, tag.as_str())),
    }
}

/// What becomes of each tag; those that go first.
fn fates(
    survey: &Survey,
    verdicts: &[Verdict],
    removal: &Removal,
    applied: &Applied,
    args: &PruneArgs,
    now: SystemTime,
) -> Vec<Pruned> {
    let mut fates: Vec<Pruned> = survey
        .tags
        .iter()
        .zip(verdicts)
        .map(|(row, verdict)| {
            let state = &row.state;
            let fate = if removal.delete.contains(&state.digest) {
                Fate::Delete
            } else if applied.left.contains(&state.tag) {
                Fate::Left
            } else if removal.untag.contains(&state.tag) {
                Fate::Untag
            } else {
                Fate::Keep
            };
            Pruned {
                fate,
                tag: state.tag.to_string(),
                digest: if args.json { state.digest.to_string() } else { short(&state.digest) },
                time: state.time.map(seconds),
                why: why(verdict, fate, args),
                age: age_of(state.time, now),
            }
        })
        .collect();
    fates.sort_by_key(|row| row.fate);
    fates
}

fn why(verdict: &Verdict, fate: Fate, args: &PruneArgs) -> String {
    let limit = || args.older_than.map(text::age).unwrap_or_default();
    match verdict {
        Verdict::Go { .. } => {
            let newest = args.keep.map(|keep| match keep {
                1 => "not the newest".to_owned(),
                keep => format!("not among the {keep} newest"),
            });
            let old = args.older_than.map(|limit| format!("older than {}", text::age(limit)));
            let mut reasons: Vec<String> = newest.into_iter().chain(old).collect();
            if matches!(fate, Fate::Untag | Fate::Left) {
                reasons.push("its image stays, as something kept reaches it".to_owned());
            }
            reasons.join("; ")
        }
        Verdict::NotCovered if args.patterns.is_empty() => "carries no version".to_owned(),
        Verdict::NotCovered => "does not match".to_owned(),
        Verdict::AmongNewest(rank) => format!("number {rank} of the newest"),
        Verdict::Young(_) => format!("not older than {}", limit()),
        Verdict::UnknownAge => "its age is not known".to_owned(),
        Verdict::Series => "names a series of which a version stays".to_owned(),
        Verdict::BelongsTo(subject) => format!("belongs to {}", short(subject)),
    }
}

fn summary(args: &PruneArgs, place: &Place, removal: &Removal, applied: &Applied) -> String {
    let (manifests, tags) = match args.apply {
        true => (applied.deleted, applied.untagged.len()),
        false => (removal.delete.len(), removal.untag.len()),
    };
    if manifests + tags == 0 {
        return format!("nothing to delete from {place}\n");
    }
    let (images, alone) = (text::count(manifests, "manifest"), text::count(tags, "tag"));
    let what = match (manifests, tags) {
        (_, 0) => images,
        (0, _) => alone,
        _ => format!("{images}, with the tags on them, and {alone}"),
    };
    match args.apply {
        true => format!("deleted {what} from {place}\n"),
        false => format!("would delete {what} from {place}; --apply does it\n"),
    }
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Fate::Delete => "delete",
            Fate::Untag => "untag",
            Fate::Left => "left",
            Fate::Keep => "keep",
        }
    }
}

/// `sha256:` and twelve digits.
fn short(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{}:{}", digest.algorithm().name(), hex.get(..12).unwrap_or(hex))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn age_of(time: Option<SystemTime>, now: SystemTime) -> String {
    // A time that is still to come is that of another clock.
    time.map_or_else(
        || "-".to_owned(),
        |time| text::age(now.duration_since(time).unwrap_or_default()),
    )
}

/// Reads `12h`, `30d` or `4w`.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and `h`, `d` or `w`, such as `30d`".to_owned();
    let hours = match text.chars().last() {
        Some('h') => 1,
        Some('d') => 24,
        Some('w') => 7 * 24,
        _ => return Err(wrong()),
    };
    let number: u64 = text.get(..text.len() - 1).and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
    number
        .checked_mul(hours * 3600)
        .map(Duration::from_secs)
        .ok_or_else(|| "that is longer than anything lasts".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_hours_days_and_weeks() {
        let hours = |text| age(text).map(|age| age.as_secs() / 3600);
        assert_eq!((hours("12h"), hours("30d"), hours("4w")), (Ok(12), Ok(720), Ok(672)));
        for wrong in ["30", "d", "", "-1d", "1.5d", "30 d", "3m", "30ü"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
        assert!(age("99999999999999999999w").is_err() && age("9999999999999999w").is_err());
    }
}
