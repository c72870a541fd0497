//! The expander: it agrees with a model that tries everything, and quotes protect.

use anyarch_dockerfile::{ExpandReason, Lexer};

/// All that holds for any word, where every variable has this value or none has one.
pub(crate) fn any_word(word: &str, value: Option<&str>) {
    for lexer in [Lexer::new('\\'), Lexer::new('`'), Lexer::for_heredoc()] {
        let one = lexer.expand(word, &mut |_| value.map(str::to_owned));
        let many = lexer.expand_words(word, &mut |_| value.map(str::to_owned));
        match (one, many) {
            (Ok(one), Ok(many)) => {
                assert_eq!(solid(&many.concat()), solid(&one), "{word:?}");
                assert!(many.iter().all(|word| !word.is_empty()), "{word:?}");
            }
            (Err(one), Err(many)) => assert_eq!(one, many),
            (one, many) => panic!("{word:?}: {one:?} but as words {many:?}"),
        }
    }
}

/// Text without its blanks: splitting into words takes nothing else away.
fn solid(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Any text comes through each way of quoting it.
pub(crate) fn quoted(text: &str) {
    for escape in ['\\', '`'] {
        let lexer = Lexer::new(escape);
        let expand = |word: &str| lexer.expand(word, &mut |_| Some("wrong".to_owned())).unwrap();
        let escaped = |special: &dyn Fn(char) -> bool| -> String {
            text.chars().flat_map(|c| special(c).then_some(escape).into_iter().chain([c])).collect()
        };
        let in_double = escaped(&|c| matches!(c, '"' | '$') || c == escape);
        assert_eq!(expand(&format!("\"{in_double}\"")), text);
        assert_eq!(expand(&escaped(&|_| true)), text);
        if !text.contains('\'') {
            assert_eq!(expand(&format!("'{text}'")), text);
        }
        let words = lexer.expand_words(&format!("\"{in_double}\""), &mut |_| None).unwrap();
        assert_eq!(words.concat(), text);
    }
}

/// `${x<operator><word>}`, or `${x/pattern/replacement}` where there is a replacement.
#[derive(Debug, Clone)]
pub(crate) struct Substitution {
    pub(crate) operator: &'static str,
    /// Literal text, or for patterns also `*` and `?`.
    pub(crate) word: String,
    pub(crate) replacement: Option<String>,
}

/// The operators that take one word.
pub(crate) static OPERATORS: [&str; 10] = [":-", "-", ":+", "+", ":?", "?", "#", "##", "%", "%%"];

impl Substitution {
    /// As it is written, of the variable `x`.
    pub(crate) fn text(&self) -> String {
        match &self.replacement {
            Some(replacement) => format!("${{x{}{}/{replacement}}}", self.operator, self.word),
            None => format!("${{x{}{}}}", self.operator, self.word),
        }
    }

    /// What a shell makes of it, or the message with which it fails.
    pub(crate) fn model(&self, value: Option<&str>) -> Result<String, String> {
        let text = value.unwrap_or_default();
        let there = match self.operator.starts_with(':') {
            true => !text.is_empty(),
            false => value.is_some(),
        };
        let pattern: Vec<char> = self.word.chars().collect();
        let chars: Vec<char> = text.chars().collect();
        let lengths = 0..=chars.len();
        let join = |chars: &[char]| chars.iter().collect::<String>();
        let starts = |length: &usize| matches(&pattern, &chars[..*length]);
        let ends = |length: &usize| matches(&pattern, &chars[chars.len() - length..]);
        Ok(match self.operator.trim_start_matches(':') {
            "-" if there => text.to_owned(),
            "-" => self.word.clone(),
            "+" if there => self.word.clone(),
            "+" => String::new(),
            "?" if there => text.to_owned(),
            "?" => return Err(self.word.clone()),
            "#" => join(&chars[lengths.clone().find(starts).unwrap_or(0)..]),
            "##" => join(&chars[lengths.clone().rfind(starts).unwrap_or(0)..]),
            "%" => join(&chars[..chars.len() - lengths.clone().find(ends).unwrap_or(0)]),
            "%%" => join(&chars[..chars.len() - lengths.clone().rfind(ends).unwrap_or(0)]),
            "/" => self.replaced(&chars, false),
            _ => self.replaced(&chars, true),
        })
    }

    /// From the left the longest match, then on behind it.
    fn replaced(&self, text: &[char], all: bool) -> String {
        let pattern: Vec<char> = self.word.chars().collect();
        let mut out = String::new();
        let mut at = 0;
        let mut done = false;
        while at < text.len() {
            let length = (1..=text.len() - at).rfind(|n| matches(&pattern, &text[at..at + n]));
            match length.filter(|_| all || !done) {
                Some(length) => {
                    out.push_str(self.replacement.as_deref().unwrap_or_default());
                    at += length;
                    done = true;
                }
                None => {
                    out.push(text[at]);
                    at += 1;
                }
            }
        }
        out
    }

    /// Whether the pattern can match nothing at all, where shells have ways of their own.
    pub(crate) fn may_match_nothing(&self) -> bool {
        self.word.chars().all(|c| c == '*')
    }
}

/// Whether a pattern of `*`, `?` and literal characters matches all of a text: by trying.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skip| matches(rest, &text[skip..])),
        Some(('?', rest)) => !text.is_empty() && matches(rest, &text[1..]),
        Some((c, rest)) => text.first() == Some(c) && matches(rest, &text[1..]),
    }
}

/// A substitution gives what the model gives.
pub(crate) fn agrees_with_the_model(substitution: &Substitution, value: Option<&str>) {
    let result = Lexer::new('\\').expand(&substitution.text(), &mut |name| {
        assert_eq!(name, "x");
        value.map(str::to_owned)
    });
    let context = || format!("{} of {value:?}", substitution.text());
    match (result, substitution.model(value)) {
        (Ok(text), Ok(expected)) => assert_eq!(text, expected, "{}", context()),
        (Err(error), Err(message)) => {
            let ExpandReason::Required { name, message: said } = error.reason else {
                panic!("{}: {error}", context())
            };
            assert_eq!(name, "x");
            assert!(message.is_empty() || said == message, "{}: {said}", context());
        }
        (result, expected) => panic!("{}: {result:?}, not {expected:?}", context()),
    }
}
