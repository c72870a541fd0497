//! Plan text → [`PlanFile`]: what is written, with the place of every value; nothing is resolved.
//!
//! Reading is lenient: a value of the wrong type, or an empty one, is left out here and reported once, by the walk
//! over the file's shape. Leaves out all meaning: see [`crate::check`].

use std::ops::Range;

use toml::Spanned as TomlSpanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Diagnostic;
use crate::shape;
use crate::validate::{count, validate};

/// A value and its place in the text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Range<usize>,
}

/// A string and its place.
pub type Text = Spanned<String>;

/// How far a file could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Soundness {
    /// Every value fits the shape of a plan.
    Sound,
    /// TOML, but some values had to be left out.
    Misshapen,
    /// Not TOML.
    NotToml,
}

/// The file as written.
#[derive(Clone, Debug)]
pub struct PlanFile {
    /// `[project]`
    pub project: ProjectTable,
    /// `[sources]`: Debian archives.
    pub debian: Vec<DebianTable>,
    /// `[base.NAME]`, in the order of the file.
    pub bases: Vec<BaseTable>,
    /// `[flavor.NAME]`, in the order of the file.
    pub flavors: Vec<FlavorTable>,
    /// `[tags]`
    pub tags: TagsTable,
    /// `[index.NAME]`, in the order of the file.
    pub indexes: Vec<IndexTable>,
    pub(crate) soundness: Soundness,
    pub(crate) line_starts: Vec<usize>,
}

/// `[project]` as written.
#[derive(Clone, Debug, Default)]
pub struct ProjectTable {
    /// `name`
    pub name: Option<Text>,
    /// `repository`
    pub repository: Option<Text>,
    /// `version`
    pub version: Option<Text>,
    /// `context`
    pub context: Option<Text>,
    /// `source-date-epoch`
    pub source_date_epoch: Option<Spanned<i64>>,
}

/// One Debian archive as written; the short form gives only `uri`.
#[derive(Clone, Debug)]
pub struct DebianTable {
    /// `uri`
    pub uri: Option<Text>,
    /// `suites`
    pub suites: Vec<Text>,
    /// `components`
    pub components: Vec<Text>,
    /// `signed-by`
    pub signed_by: Option<Text>,
    /// `security`
    pub security: Option<Text>,
    /// Place of the string or table.
    pub span: Range<usize>,
}

/// `[base.NAME]` as written.
#[derive(Clone, Debug)]
pub struct BaseTable {
    /// NAME
    pub name: Text,
    /// `from`
    pub from: Option<Text>,
    /// `debian`
    pub debian: Option<Text>,
    /// `packages`
    pub packages: Vec<Text>,
    /// `components`
    pub components: Vec<Text>,
    /// `recommends`
    pub recommends: Option<bool>,
}

/// `[flavor.NAME]` as written.
#[derive(Clone, Debug)]
pub struct FlavorTable {
    /// NAME
    pub name: Text,
    /// `platforms`; `None` when missing or not a list.
    pub platforms: Option<Spanned<Vec<Text>>>,
    /// `accelerator`
    pub accelerator: Option<Text>,
    /// `tiers`; `None` when missing or not a list.
    pub tiers: Option<Spanned<Vec<TierTable>>>,
    /// `smoke`
    pub smoke: Option<Spanned<Vec<Text>>>,
    /// `on."PLATFORM"`
    pub on: Vec<OnTable>,
}

/// One entry of `tiers`, or one tier override, as written.
#[derive(Clone, Debug)]
pub struct TierTable {
    /// `name`, or the key of an override.
    pub name: Option<Text>,
    /// `dockerfile`
    pub dockerfile: Option<Text>,
    /// `target`
    pub target: Option<Text>,
    /// `build-args`: name and value.
    pub build_args: Vec<(Text, Text)>,
    /// `context`
    pub context: Option<Text>,
    /// `contexts`: name and source.
    pub contexts: Vec<(Text, Text)>,
    /// Place of the table.
    pub span: Range<usize>,
}

/// `on."PLATFORM"` of a flavor as written.
#[derive(Clone, Debug)]
pub struct OnTable {
    /// PLATFORM
    pub platform: Text,
    /// `tier.NAME`
    pub tiers: Vec<TierTable>,
    /// `smoke`
    pub smoke: Option<Spanned<Vec<Text>>>,
}

/// `[tags]` as written.
#[derive(Clone, Debug, Default)]
pub struct TagsTable {
    /// `local`
    pub local: Option<Vec<Text>>,
    /// `gathered`
    pub gathered: Option<Vec<Text>>,
    /// `publish`
    pub publish: Option<Vec<Text>>,
    /// `publish-flavor`
    pub publish_flavor: Option<Vec<Text>>,
    /// `publish-tier`
    pub publish_tier: Option<Vec<Text>>,
    /// `index`
    pub index: Option<Vec<Text>>,
}

/// `[index.NAME]` as written.
#[derive(Clone, Debug)]
pub struct IndexTable {
    /// NAME
    pub name: Text,
    /// `members`
    pub members: Option<Spanned<Vec<Text>>>,
}

/// Reads the text of a plan. Findings: syntax, unknown keys, missing keys, wrong types.
///
/// When the text is not TOML, only the syntax errors are reported.
pub fn parse(text: &str) -> (PlanFile, Vec<Diagnostic>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let table = document.get_ref();
    let (found, soundness) = if errors.is_empty() {
        let found = validate(table, &shape::ROOT);
        let soundness = if found.is_empty() { Soundness::Sound } else { Soundness::Misshapen };
        (found, soundness)
    } else {
        (errors.iter().map(|error| syntax(error, text)).collect(), Soundness::NotToml)
    };
    let root = Node(table);
    let file = PlanFile {
        project: root.table("project").map(project).unwrap_or_default(),
        debian: root.table("sources").map(|sources| debian(&sources)).unwrap_or_default(),
        bases: root.named("base").map(|(name, node)| base(name, &node)).collect(),
        flavors: root.named("flavor").map(|(name, node)| flavor(name, &node)).collect(),
        tags: root.table("tags").map(|node| tags(&node)).unwrap_or_default(),
        indexes: root.named("index").map(|(name, node)| index(name, &node)).collect(),
        soundness,
        line_starts: std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect(),
    };
    (file, found)
}

fn syntax(error: &toml::de::Error, text: &str) -> Diagnostic {
    let span = error.span().unwrap_or(text.len()..text.len());
    let message = error.message().trim();
    let (headline, rest) = message.split_once('\n').unwrap_or((message, ""));
    let rest = rest.trim().replace('\n', "; ");
    let label = if rest.is_empty() { "here" } else { rest.as_str() };
    Diagnostic::error("syntax", &span, format!("the plan is not valid TOML: {headline}"), label)
}

/// A table that is asked for values by key and type.
#[derive(Clone, Copy)]
struct Node<'t>(&'t DeTable<'t>);

impl<'t> Node<'t> {
    fn get(&self, key: &str) -> Option<&'t TomlSpanned<DeValue<'t>>> {
        self.0.get(key)
    }

    fn table(&self, key: &str) -> Option<Node<'t>> {
        self.get(key)?.get_ref().as_table().map(Node)
    }

    fn text(&self, key: &str) -> Option<Text> {
        text(self.get(key)?).filter(|text| !text.value.trim().is_empty())
    }

    fn texts(&self, key: &str) -> Option<Spanned<Vec<Text>>> {
        let value = self.get(key)?;
        let array = value.get_ref().as_array()?;
        let texts: Vec<Text> =
            array.iter().filter_map(text).filter(|text| !text.value.trim().is_empty()).collect();
        // A list of nothing but misfits is not an empty list.
        (array.is_empty() || !texts.is_empty())
            .then_some(Spanned { value: texts, span: value.span() })
    }

    /// The keys of the table, in the order of the text.
    fn entries(&self) -> Vec<(Text, &'t TomlSpanned<DeValue<'t>>)> {
        let mut entries: Vec<_> = self
            .0
            .iter()
            .map(|(key, value)| {
                (Spanned { value: key.get_ref().to_string(), span: key.span() }, value)
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        entries
    }

    /// The tables under `key`, by name, in the order of the text.
    fn named(&self, key: &str) -> impl Iterator<Item = (Text, Node<'t>)> + use<'t> {
        self.table(key)
            .map(|node| node.entries())
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, value)| Some((name, Node(value.get_ref().as_table()?))))
    }
}

fn text(value: &TomlSpanned<DeValue<'_>>) -> Option<Text> {
    let text = value.get_ref().as_str()?;
    Some(Spanned { value: text.to_owned(), span: value.span() })
}

fn project(node: Node<'_>) -> ProjectTable {
    ProjectTable {
        name: node.text("name"),
        repository: node.text("repository"),
        version: node.text("version"),
        context: node.text("context"),
        source_date_epoch: node
            .get("source-date-epoch")
            .and_then(|value| Some(Spanned { value: count(value.get_ref())?, span: value.span() })),
    }
}

fn debian(sources: &Node<'_>) -> Vec<DebianTable> {
    match sources.get("debian") {
        Some(value) => match value.get_ref().as_array() {
            Some(array) => array.iter().filter_map(debian_source).collect(),
            None => debian_source(value).into_iter().collect(),
        },
        None => Vec::new(),
    }
}

fn debian_source(value: &TomlSpanned<DeValue<'_>>) -> Option<DebianTable> {
    let list = |node: &Node<'_>, key| node.texts(key).map(|list| list.value).unwrap_or_default();
    let span = value.span();
    match value.get_ref() {
        DeValue::String(_) => Some(DebianTable {
            uri: text(value),
            suites: Vec::new(),
            components: Vec::new(),
            signed_by: None,
            security: None,
            span,
        }),
        DeValue::Table(table) => {
            let node = Node(table);
            Some(DebianTable {
                uri: node.text("uri"),
                suites: list(&node, "suites"),
                components: list(&node, "components"),
                signed_by: node.text("signed-by"),
                security: node.text("security"),
                span,
            })
        }
        _ => None,
    }
}

fn base(name: Text, node: &Node<'_>) -> BaseTable {
    let list = |key| node.texts(key).map(|list| list.value).unwrap_or_default();
    BaseTable {
        name,
        from: node.text("from"),
        debian: node.text("debian"),
        packages: list("packages"),
        components: list("components"),
        recommends: node.get("recommends").and_then(|value| value.get_ref().as_bool()),
    }
}

fn flavor(name: Text, node: &Node<'_>) -> FlavorTable {
    let tiers = node.get("tiers").and_then(|value| {
        let array = value.get_ref().as_array()?;
        let tiers = array.iter().filter_map(|entry| {
            let node = Node(entry.get_ref().as_table()?);
            Some(tier(node.text("name"), &node, entry.span()))
        });
        let tiers: Vec<TierTable> = tiers.collect();
        (array.is_empty() || !tiers.is_empty())
            .then_some(Spanned { value: tiers, span: value.span() })
    });
    FlavorTable {
        name,
        platforms: node.texts("platforms"),
        accelerator: node.text("accelerator"),
        tiers,
        smoke: node.texts("smoke"),
        on: node.named("on").map(|(platform, node)| on(platform, &node)).collect(),
    }
}

fn tier(name: Option<Text>, node: &Node<'_>, span: Range<usize>) -> TierTable {
    let pairs = |key: &str| {
        let entries = node.table(key).map(|node| node.entries()).unwrap_or_default();
        entries.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()
    };
    TierTable {
        name,
        dockerfile: node.text("dockerfile"),
        target: node.text("target"),
        build_args: pairs("build-args"),
        context: node.text("context"),
        contexts: pairs("contexts"),
        span,
    }
}

fn on(platform: Text, node: &Node<'_>) -> OnTable {
    let tiers = node.named("tier").map(|(name, node)| {
        let span = name.span.clone();
        tier(Some(name), &node, span)
    });
    OnTable { platform, tiers: tiers.collect(), smoke: node.texts("smoke") }
}

fn tags(node: &Node<'_>) -> TagsTable {
    let list = |key| node.texts(key).map(|list| list.value);
    TagsTable {
        local: list("local"),
        gathered: list("gathered"),
        publish: list("publish"),
        publish_flavor: list("publish-flavor"),
        publish_tier: list("publish-tier"),
        index: list("index"),
    }
}

fn index(name: Text, node: &Node<'_>) -> IndexTable {
    IndexTable { name, members: node.texts("members") }
}
