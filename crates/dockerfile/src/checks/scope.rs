//! The variables that an instruction sees, as far as they are known.

use std::collections::{BTreeMap, BTreeSet};

use super::{Inherited, suggestion};
use crate::lexer::Lexer;

/// What is known of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Its value.
    Text(String),
    /// It is declared and has no value.
    Unset,
    /// It has a value that only a build knows.
    Unknown,
}

/// Variables of a stage, or those that FROM sees.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// What ENV set, here or in an image below.
    pub(super) env: BTreeMap<String, Value>,
    /// What ARG declared.
    pub(super) args: BTreeMap<String, Value>,
    /// Whether an image that is not known may have set more.
    pub(super) open: bool,
}

/// A word after expansion.
pub(super) struct Expansion {
    /// The text, where all of it is known.
    pub(super) text: Option<String>,
    /// Variables that nothing has set, each with a known one that was probably meant.
    pub(super) undefined: Vec<(String, Option<String>)>,
    /// All variables that were asked for.
    pub(super) asked: BTreeSet<String>,
}

impl Scope {
    /// What is built on an image; `None` where nothing is known of it.
    pub(super) fn on_image(image: Option<&Inherited>) -> Self {
        let mut scope = Self { open: image.is_none_or(|image| image.more_env), ..Self::default() };
        // Every image has a PATH, if only a default one.
        scope.env.insert("PATH".to_owned(), Value::Unknown);
        for (name, value) in image.into_iter().flat_map(|image| &image.env) {
            let value = value.clone().map_or(Value::Unknown, Value::Text);
            scope.env.insert(name.clone(), value);
        }
        scope
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.env.get(name).or_else(|| self.args.get(name))
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.env.keys().chain(self.args.keys()).cloned().collect()
    }

    /// Expands a word; a word that cannot be expanded has no text.
    pub(super) fn expand(&self, lexer: &Lexer, word: &str) -> Expansion {
        let (mut unset, mut asked, mut certain) = (Vec::new(), BTreeSet::new(), true);
        let text = lexer.expand(word, &mut |name| {
            asked.insert(name.to_owned());
            match self.get(name) {
                Some(Value::Text(text)) => return Some(text.clone()),
                Some(Value::Unset) => {}
                Some(Value::Unknown) => {
                    certain = false;
                    return Some(String::new());
                }
                None if unset.iter().any(|known| known == name) => {}
                None => unset.push(name.to_owned()),
            }
            None
        });
        let known = self.names();
        let named: Vec<_> =
            unset.into_iter().map(|name| (suggestion(&name, &known), name)).collect();
        // What an unknown image may have set is not undefined, unless it looks like a mistake.
        certain &= !self.open || named.is_empty();
        let undefined = named
            .into_iter()
            .filter(|(near, _)| !self.open || near.is_some())
            .map(|(near, name)| (name, near))
            .collect();
        Expansion { text: text.ok().filter(|_| certain), undefined, asked }
    }
}
