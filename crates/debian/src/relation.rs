//! Relationship fields (policy 7.1): `Depends`, `Provides` and the like, text to values.
//!
//! Reduces architecture and build-profile restrictions for one architecture; does not look anything up.

use std::fmt;

use crate::version::Version;

/// Comparison of a version constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterEqual,
    /// `>>`
    Later,
}

/// The part after the colon of `name:qualifier`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Qualifier {
    /// `:any`: any architecture, when the package is `Multi-Arch: allowed`.
    Any,
    /// `:native` (build dependencies) means the architecture itself.
    Native,
    /// `:amd64`.
    Architecture(String),
}

/// One package name with what is asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    /// Package name, real or virtual.
    pub(crate) name: String,
    /// Architecture qualifier.
    pub(crate) qualifier: Option<Qualifier>,
    /// Version constraint.
    pub(crate) version: Option<(Operator, Version)>,
}

/// A comma-separated list whose entries are alternatives: and of or.
pub(crate) type Relations = Vec<Vec<Relation>>;

/// A relationship field that does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a package relation: {reason}")]
pub struct RelationError {
    /// The entry that failed.
    pub text: String,
    /// Why.
    pub reason: String,
}

impl Operator {
    /// Whether `have` stands in this relation to `wanted`.
    pub(crate) fn accepts(self, have: &Version, wanted: &Version) -> bool {
        match self {
            Operator::Earlier => have < wanted,
            Operator::EarlierEqual => have <= wanted,
            Operator::Equal => have == wanted,
            Operator::LaterEqual => have >= wanted,
            Operator::Later => have > wanted,
        }
    }

    /// As written in control files.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Operator::Earlier => "<<",
            Operator::EarlierEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterEqual => ">=",
            Operator::Later => ">>",
        }
    }
}

impl Relation {
    /// A relation to a name without constraint.
    pub(crate) fn named(name: &str) -> Relation {
        Relation { name: name.to_owned(), qualifier: None, version: None }
    }

    /// Whether a version satisfies the constraint; no constraint accepts every version.
    pub(crate) fn accepts(&self, version: &Version) -> bool {
        self.version.as_ref().is_none_or(|(operator, wanted)| operator.accepts(version, wanted))
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.qualifier {
            None => {}
            Some(Qualifier::Any) => f.write_str(":any")?,
            Some(Qualifier::Native) => f.write_str(":native")?,
            Some(Qualifier::Architecture(name)) => write!(f, ":{name}")?,
        }
        match &self.version {
            None => Ok(()),
            Some((operator, version)) => write!(f, " ({} {version})", operator.symbol()),
        }
    }
}

/// Alternatives as they are written: `a | b`.
pub(crate) fn display_alternatives(alternatives: &[Relation]) -> String {
    alternatives.iter().map(Relation::to_string).collect::<Vec<_>>().join(" | ")
}

/// Parses a field for `architecture`; alternatives restricted to other architectures drop out.
pub(crate) fn parse(field: &str, architecture: &str) -> Result<Relations, RelationError> {
    let mut all = Vec::new();
    for entry in field.split(',').map(str::trim).filter(|e| !e.is_empty()) {
        let mut alternatives = Vec::new();
        for text in entry.split('|') {
            if let Some(relation) = parse_one(text.trim(), architecture)? {
                alternatives.push(relation);
            }
        }
        if !alternatives.is_empty() {
            all.push(alternatives);
        }
    }
    Ok(all)
}

/// Parses one relation; `None` when a restriction excludes `architecture`.
fn parse_one(text: &str, architecture: &str) -> Result<Option<Relation>, RelationError> {
    let fail = |reason: &str| RelationError { text: text.to_owned(), reason: reason.to_owned() };
    let end = text.find(|c: char| c.is_whitespace() || "([<".contains(c)).unwrap_or(text.len());
    let (head, mut rest) = text.split_at(end);
    let (name, qualifier) = match head.split_once(':') {
        None => (head, None),
        Some((name, "any")) => (name, Some(Qualifier::Any)),
        Some((name, "native")) => (name, Some(Qualifier::Native)),
        Some((name, other)) if is_name(other) => {
            (name, Some(Qualifier::Architecture(other.to_owned())))
        }
        Some(_) => return Err(fail("the architecture qualifier is malformed")),
    };
    if !is_name(name) {
        return Err(fail("the package name is malformed"));
    }
    let (mut version, mut applies) = (None, true);
    loop {
        rest = rest.trim_start();
        let Some(open) = rest.chars().next() else { break };
        let close = match open {
            '(' => ')',
            '[' => ']',
            '<' => '>',
            _ => return Err(fail("unexpected text after the name")),
        };
        let end = rest.find(close).ok_or_else(|| fail("a bracket is not closed"))?;
        let inner = rest[1..end].trim();
        rest = &rest[end + 1..];
        match open {
            '(' => {
                version = Some(parse_constraint(inner).map_err(|reason| fail(&reason))?);
            }
            '[' => applies &= applies_to(inner, architecture),
            // Build profiles: none is active when packages are installed.
            _ => applies &= inner.split_whitespace().all(|profile| profile.starts_with('!')),
        }
    }
    Ok(applies.then(|| Relation { name: name.to_owned(), qualifier, version }))
}

/// Parses `>= 1.2`; the old `<` and `>` mean `<=` and `>=`, as in dpkg.
fn parse_constraint(text: &str) -> Result<(Operator, Version), String> {
    let end = text.find(|c| !"<>=".contains(c)).unwrap_or(text.len());
    let (symbol, version) = text.split_at(end);
    let operator = match symbol {
        "<<" => Operator::Earlier,
        "<=" | "<" => Operator::EarlierEqual,
        "=" | "" => Operator::Equal,
        ">=" | ">" => Operator::LaterEqual,
        ">>" => Operator::Later,
        other => return Err(format!("`{other}` is not an operator")),
    };
    let version =
        version.trim().parse().map_err(|e: crate::version::VersionError| e.to_string())?;
    Ok((operator, version))
}

/// Whether an architecture list (`amd64 arm64`, `!i386`, `linux-any`, `any`) covers `architecture`.
fn applies_to(list: &str, architecture: &str) -> bool {
    let covers = |pattern: &str| {
        let cpu = pattern.strip_prefix("linux-").or_else(|| pattern.strip_prefix("any-"));
        pattern == architecture
            || pattern == "any"
            || pattern == "linux-any"
            || cpu.is_some_and(|cpu| cpu == architecture)
    };
    let mut words = list.split_whitespace().peekable();
    match words.peek() {
        Some(first) if first.starts_with('!') => {
            words.all(|word| !covers(word.trim_start_matches('!')))
        }
        _ => words.any(covers),
    }
}

/// Whether a text can be a package name (policy 5.6.7, with the upper case that some archives use).
pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(field: &str) -> String {
        let all = parse(field, "amd64").unwrap();
        all.iter().map(|a| display_alternatives(a)).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn fields_read_and_written_alike() {
        let field =
            "libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0, python3:any (<< 3.12), gcc:arm64";
        assert_eq!(show(field), field);
    }

    #[test]
    fn restrictions_are_reduced() {
        assert_eq!(
            show("a [amd64], b [!amd64] | c [linux-any], d [arm64 any-amd64], e <!nocheck>"),
            "a, c, d, e"
        );
        assert_eq!(show("a [arm64], b <stage1>"), "");
    }

    #[test]
    fn old_operators_mean_or_equal() {
        assert_eq!(show("a(<1), b (> 2)"), "a (<= 1), b (>= 2)");
    }

    #[test]
    fn malformed_relations_are_refused() {
        for field in ["a (", "a (~ 1)", "a (>= )", "A B", "a:b:c", "-a", "a (>= 1_2)", "a ]"] {
            assert!(parse(field, "amd64").is_err(), "{field}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_parses_or_fails(field in "[a-c(<>=|,:\\[\\]! 0-9é]{0,30}") {
            if let Ok(all) = parse(&field, "amd64") {
                let text = all.iter().map(|a| display_alternatives(a)).collect::<Vec<_>>().join(", ");
                proptest::prop_assert_eq!(parse(&text, "amd64").unwrap(), all);
            }
        }
    }
}
