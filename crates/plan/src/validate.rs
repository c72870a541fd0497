//! A parsed TOML document and its [`Shape`] → unknown keys, missing keys and wrong types.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, listing, nearest};
use crate::shape::{Key, Kind, Shape};

/// Everything in `table` that does not fit `shape`.
pub(crate) fn validate(table: &DeTable<'_>, shape: &'static Shape) -> Vec<Diagnostic> {
    let mut walk = Walk { found: Vec::new() };
    walk.table(table, shape, &Place { path: String::new(), title: "the plan".to_owned() }, &(0..0));
    walk.found
}

/// Where in the file a value stands, in words.
struct Place {
    /// Dotted path of the nearest table with a header: `flavor.cpu`.
    path: String,
    /// How messages call the value: "`[flavor.cpu]`", "a tier of `[flavor.cpu]`".
    title: String,
}

impl Place {
    fn within(&self, key: &str) -> Place {
        let bare = !key.is_empty()
            && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        let key = if bare { key.to_owned() } else { format!("{key:?}") };
        let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
        Place { title: format!("`[{path}]`"), path }
    }
}

struct Walk {
    found: Vec<Diagnostic>,
}

impl Walk {
    fn table(
        &mut self,
        table: &DeTable<'_>,
        shape: &'static Shape,
        place: &Place,
        span: &Range<usize>,
    ) {
        let mut meant = Vec::new();
        for (name, value) in table {
            match shape.keys.iter().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => {
                    let within = place.within(key.name);
                    self.value(value, &key.kind, key, key.name, &within, place, &name.span());
                }
                None => {
                    let (finding, near) = unknown(name.get_ref(), &name.span(), shape, place);
                    self.found.push(finding);
                    meant.extend(near);
                }
            }
        }
        for key in shape.keys.iter().filter(|key| key.required) {
            let written = table.keys().any(|name| name.get_ref().as_ref() == key.name);
            if !written && !meant.contains(&key.name) {
                self.found.push(missing(key, place, span));
            }
        }
    }

    /// Checks the `value` called `name` in the table `around`, which is that of `key` or within it;
    /// `place` is the value's own place.
    #[expect(clippy::too_many_arguments, reason = "one recursive walk, called in this file only")]
    fn value(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        kind: &'static Kind,
        key: &'static Key,
        name: &str,
        place: &Place,
        around: &Place,
        key_span: &Range<usize>,
    ) {
        match (kind, value.get_ref()) {
            (Kind::AnyText, DeValue::String(_)) | (Kind::Switch, DeValue::Boolean(_)) => {}
            (Kind::Text, DeValue::String(text)) => {
                if text.trim().is_empty() {
                    self.found.push(
                        Diagnostic::error(
                            "empty-value",
                            &value.span(),
                            format!("`{name}` in {} is empty", around.title),
                            "nothing in it",
                        )
                        .with_hint(format!("for example `{}`", key.example)),
                    );
                }
            }
            (Kind::Count, DeValue::Integer(_)) => {
                if count(value.get_ref()).is_none() {
                    self.found.push(Diagnostic::error(
                        "out-of-range",
                        &value.span(),
                        format!("`{name}` in {} is out of range", around.title),
                        "expected 0 or more, below 2^63",
                    ));
                }
            }
            (Kind::List(item), DeValue::Array(array)) => {
                for entry in array.iter() {
                    let nested = match item {
                        Kind::Table(shape) => Place {
                            path: around.path.clone(),
                            title: format!("a {} of {}", shape.noun, around.title),
                        },
                        _ => Place { path: place.path.clone(), title: around.title.clone() },
                    };
                    self.value(entry, item, key, name, &nested, around, &entry.span());
                }
            }
            (Kind::Map(item), DeValue::Table(table)) => {
                for (name, entry) in table {
                    let nested = place.within(name.get_ref());
                    self.value(entry, item, key, name.get_ref(), &nested, place, &name.span());
                }
            }
            (Kind::Table(shape), DeValue::Table(table)) => {
                self.table(table, shape, place, key_span);
            }
            (Kind::AnyOf(kinds), found) => match kinds.iter().find(|kind| fits(kind, found)) {
                Some(kind) => self.value(value, kind, key, name, place, around, key_span),
                None => self.found.push(wrong_type(value, kind, key, name, around)),
            },
            _ => self.found.push(wrong_type(value, kind, key, name, around)),
        }
    }
}

fn unknown(
    name: &str,
    span: &Range<usize>,
    shape: &'static Shape,
    place: &Place,
) -> (Diagnostic, Option<&'static str>) {
    let names = || shape.keys.iter().map(|key| key.name);
    let near = nearest(&name.replace('_', "-"), names());
    let message = format!("unknown key `{name}` in {}", place.title);
    let known = format!("known keys here: {}", listing(names()));
    let finding = match near {
        Some(near) => {
            Diagnostic::error("unknown-key", span, message, format!("did you mean `{near}`?"))
        }
        None => {
            let article = if shape.noun.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
            let label = format!("not a key of {article} {}", shape.noun);
            Diagnostic::error("unknown-key", span, message, label)
        }
    };
    (finding.with_hint(known), near)
}

fn missing(key: &Key, place: &Place, span: &Range<usize>) -> Diagnostic {
    let (message, hint) = if place.path.is_empty() {
        let table = format!("the plan has no `[{}]` table", key.name)
            .replace("`[flavor]` table", "`[flavor.NAME]` table");
        (table, format!("add one that starts with `{}`", key.example))
    } else {
        let message = format!("`{}` is missing in {}", key.name, place.title);
        (message, format!("add, for example, `{}`", key.example))
    };
    Diagnostic::error("missing-key", span, message, format!("needs `{}`", key.name)).with_hint(hint)
}

fn wrong_type(
    value: &Spanned<DeValue<'_>>,
    kind: &Kind,
    key: &Key,
    name: &str,
    around: &Place,
) -> Diagnostic {
    let expected = words(kind);
    let found = type_of(value.get_ref());
    let finding = Diagnostic::error(
        "wrong-type",
        &value.span(),
        format!("`{name}` in {} holds {found} where {expected} belongs", around.title),
        format!("expected {expected}, found {found}"),
    );
    match (kind, value.get_ref()) {
        (
            Kind::Text | Kind::AnyText,
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_),
        ) => finding.with_hint("put it in quotes"),
        (Kind::List(Kind::Text), DeValue::String(text)) => {
            finding.with_hint(format!("put it in a list: `[{:?}]`", text.as_ref()))
        }
        _ => finding.with_hint(format!("for example `{}`", key.example)),
    }
}

fn fits(kind: &Kind, value: &DeValue<'_>) -> bool {
    match kind {
        Kind::Text | Kind::AnyText => value.is_str(),
        Kind::Count => value.is_integer(),
        Kind::Switch => value.is_bool(),
        Kind::List(_) => value.is_array(),
        Kind::Map(_) | Kind::Table(_) => value.is_table(),
        Kind::AnyOf(kinds) => kinds.iter().any(|kind| fits(kind, value)),
    }
}

fn words(kind: &Kind) -> String {
    match kind {
        Kind::Text | Kind::AnyText => "a string".to_owned(),
        Kind::Count => "an integer".to_owned(),
        Kind::Switch => "`true` or `false`".to_owned(),
        Kind::List(Kind::Text) => "a list of strings".to_owned(),
        Kind::List(Kind::Table(_)) => "a list of tables".to_owned(),
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) | Kind::Table(_) => "a table".to_owned(),
        Kind::AnyOf(kinds) => kinds.iter().map(words).collect::<Vec<_>>().join(" or "),
    }
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The integer in `value`, when it is one from 0 to 2^63 - 1.
pub(crate) fn count(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|count| *count >= 0)
}
