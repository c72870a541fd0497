//! Expands variables and removes quotes in a word, as BuildKit's shell lexer does.
//!
//! Knows no environment: every variable is asked of a closure, so the caller sees which ones a
//! word depends on. Command substitution and file name patterns are left as they are.

use crate::expand_error::{ExpandError, ExpandReason, MAX_DEPTH};
use crate::pattern::Pattern;

/// A lexer for one escape character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lexer {
    escape: char,
    /// Quotes are ordinary characters (bodies of heredocs).
    ignore_quotes: bool,
    /// Quotes delimit, but stay in the result.
    keep_quotes: bool,
    /// Escape characters escape, but stay in the result.
    keep_escapes: bool,
    /// `$name` without a value stays as it is written.
    keep_unset: bool,
}

/// Asks for the value of a variable; `None` means unset.
pub type Lookup<'a> = dyn FnMut(&str) -> Option<String> + 'a;

impl Lexer {
    /// A lexer for words of instructions; `escape` is the file's escape character.
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            ignore_quotes: false,
            keep_quotes: false,
            keep_escapes: false,
            keep_unset: false,
        }
    }

    /// A lexer for the body of a heredoc of COPY or ADD: quotes are ordinary characters, and
    /// the escape character is the backslash whatever the file says.
    pub fn for_heredoc() -> Self {
        Self { ignore_quotes: true, ..Self::new('\\') }
    }

    /// A lexer that splits the line of an instruction to find heredocs.
    pub(crate) fn for_heredoc_line() -> Self {
        Self { keep_quotes: true, keep_escapes: true, keep_unset: true, ..Self::new('\\') }
    }

    /// A lexer for the delimiter of a heredoc, with quotes removed or kept.
    pub(crate) fn for_heredoc_delimiter(keep_quotes: bool) -> Self {
        Self { keep_quotes, keep_unset: true, ..Self::new('\\') }
    }

    /// Expands `word` to one word: blanks stay, quotes go.
    ///
    /// `lookup` is asked once for each use of a variable, in order, also where the value is not
    /// needed (`${a:+b}`).
    ///
    /// # Errors
    /// Substitutions and quotes that are not closed, unknown operators, bad patterns, and
    /// variables that `?` requires.
    pub fn expand(&self, word: &str, lookup: &mut Lookup<'_>) -> Result<String, ExpandError> {
        self.run(word, lookup).map(|output| output.text)
    }

    /// Expands `word` and splits the result at unquoted blanks, those from values included.
    ///
    /// # Errors
    /// As for [`Lexer::expand`].
    pub fn expand_words(
        &self,
        word: &str,
        lookup: &mut Lookup<'_>,
    ) -> Result<Vec<String>, ExpandError> {
        self.run(word, lookup).map(|output| output.words.finish())
    }

    fn run(&self, word: &str, lookup: &mut Lookup<'_>) -> Result<Output, ExpandError> {
        let mut scan =
            Scan { lexer: self, rest: word, keep_escapes: self.keep_escapes, depth: 0, lookup };
        scan.until(None, self.keep_escapes)
            .map_err(|reason| ExpandError { word: word.to_owned(), reason })
    }
}

/// The two results of lexing: the text as one word, and the words it splits into.
#[derive(Default)]
struct Output {
    text: String,
    words: Words,
}

/// Gathers words; blanks split unless they are added as quoted.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    fn add(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

/// A lexer in the middle of a word.
struct Scan<'w, 'l, 'f> {
    lexer: &'l Lexer,
    rest: &'w str,
    keep_escapes: bool,
    depth: usize,
    lookup: &'l mut Lookup<'f>,
}

impl<'w> Scan<'w, '_, '_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    /// Lexes up to `stop`, which is consumed, or to the end of the word.
    fn until(&mut self, stop: Option<char>, keep_escapes: bool) -> Result<Output, ExpandReason> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandReason::TooDeep);
        }
        let before = std::mem::replace(&mut self.keep_escapes, keep_escapes);
        let result = self.until_stop(stop);
        self.keep_escapes = before;
        self.depth -= 1;
        result
    }

    fn until_stop(&mut self, stop: Option<char>) -> Result<Output, ExpandReason> {
        let mut out = Output::default();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.next();
                return Ok(out);
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| out.words.add(c));
                    out.text.push_str(&value);
                }
                '\'' | '"' if !self.lexer.ignore_quotes => {
                    let quoted =
                        if c == '"' { self.double_quoted()? } else { self.single_quoted()? };
                    out.words.word.push_str(&quoted);
                    out.text.push_str(&quoted);
                }
                c if c == self.lexer.escape => {
                    self.next();
                    if self.keep_escapes {
                        out.words.word.push(c);
                        out.text.push(c);
                    }
                    // An escape character at the very end escapes nothing and goes.
                    let Some(escaped) = self.next() else { break };
                    out.words.word.push(escaped);
                    out.text.push(escaped);
                }
                c => {
                    self.next();
                    out.words.add(c);
                    out.text.push(c);
                }
            }
        }
        match stop {
            Some('/') => Err(ExpandReason::MissingSlash),
            Some(_) => Err(ExpandReason::MissingBrace),
            None => Ok(out),
        }
    }

    /// Everything up to the next single quote, as it is.
    fn single_quoted(&mut self) -> Result<String, ExpandReason> {
        self.next();
        let (inside, after) =
            self.rest.split_once('\'').ok_or(ExpandReason::Unterminated("single quote"))?;
        self.rest = after;
        Ok(if self.lexer.keep_quotes { format!("'{inside}'") } else { inside.to_owned() })
    }

    /// Everything up to the next double quote, with variables expanded; the escape character
    /// escapes `"`, `$` and itself, and is an ordinary character elsewhere.
    fn double_quoted(&mut self) -> Result<String, ExpandReason> {
        self.next();
        let mut text = String::new();
        if self.lexer.keep_quotes {
            text.push('"');
        }
        loop {
            match self.peek() {
                None => return Err(ExpandReason::Unterminated("double quote")),
                Some('"') => {
                    self.next();
                    if self.lexer.keep_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == self.lexer.escape => {
                    self.next();
                    if self.keep_escapes {
                        text.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(escaped) if escaped == '"' || escaped == '$' || escaped == c => {
                            self.next();
                            text.push(escaped);
                        }
                        Some(_) => text.push(c),
                    }
                }
                Some(c) => {
                    self.next();
                    text.push(c);
                }
            }
        }
    }

    /// A name: letters, digits and underscores; or digits alone; or one special parameter.
    fn name(&mut self) -> &'w str {
        let rest = self.rest;
        let end = |accept: fn(char) -> bool| rest.find(|c| !accept(c)).unwrap_or(rest.len());
        let length = match self.peek() {
            Some(c) if c.is_numeric() => end(char::is_numeric),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => end(|c| c.is_alphanumeric() || c == '_'),
        };
        let (name, after) = rest.split_at(length);
        self.rest = after;
        name
    }

    /// `$name` or `${...}`.
    fn dollar(&mut self) -> Result<String, ExpandReason> {
        self.next();
        if self.peek() == Some('{') {
            self.next();
            return self.braced();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        match (self.lookup)(name) {
            None if self.lexer.keep_unset => Ok(format!("${name}")),
            value => Ok(value.unwrap_or_default()),
        }
    }

    /// What follows `${`.
    fn braced(&mut self) -> Result<String, ExpandReason> {
        match self.peek() {
            None => return Err(ExpandReason::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandReason::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let mut modifier = String::new();
        let mut operator = self.next().ok_or(ExpandReason::MissingBrace)?;
        modifier.push(operator);
        match operator {
            '}' => {
                return match (self.lookup)(name) {
                    None if self.lexer.keep_unset => Ok(format!("${{{name}}}")),
                    value => Ok(value.unwrap_or_default()),
                };
            }
            '/' => return self.replace(name),
            _ => {}
        }
        let empty_is_unset = operator == ':';
        if empty_is_unset {
            operator = self.next().ok_or(ExpandReason::MissingBrace)?;
            modifier.push(operator);
        } else if !matches!(operator, '+' | '-' | '?' | '#' | '%') {
            return Err(ExpandReason::UnsupportedModifier(modifier));
        }
        let word = self.until(Some('}'), matches!(operator, '#' | '%'))?.text;
        let value = (self.lookup)(name);
        if self.lexer.keep_unset && value.is_none() {
            return Ok(format!("${{{name}{modifier}{word}}}"));
        }
        let counts = value.as_ref().is_some_and(|value| !(empty_is_unset && value.is_empty()));
        match operator {
            '-' => Ok(if counts { value.unwrap_or_default() } else { word }),
            '+' => Ok(if counts { word } else { String::new() }),
            '?' if counts => Ok(value.unwrap_or_default()),
            '?' => {
                let message = match (word.is_empty(), value.is_none()) {
                    (false, _) => word,
                    (true, true) => "is not allowed to be unset".to_owned(),
                    (true, false) => "is not allowed to be empty".to_owned(),
                };
                Err(ExpandReason::Required { name: name.to_owned(), message })
            }
            '#' | '%' => trim(&word, operator, &value.unwrap_or_default()),
            _ => Err(ExpandReason::UnsupportedModifier(modifier)),
        }
    }

    /// `${name/pattern/replacement}` and `${name//pattern/replacement}`, after the first slash.
    fn replace(&mut self, name: &str) -> Result<String, ExpandReason> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.until(Some('/'), true)?.text;
        let replacement = self.until(Some('}'), true)?.text;
        let value = (self.lookup)(name);
        if self.lexer.keep_unset && value.is_none() {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let compiled = Pattern::parse(&pattern)
            .map_err(|source| ExpandReason::InvalidPattern { pattern, source })?;
        Ok(compiled.replace(&value.unwrap_or_default(), &replacement, all))
    }
}

/// `${name#word}` and its relatives: removes the shortest match of the pattern from the start
/// (`#`) or the end (`%`) of `value`, or the longest when the operator is doubled.
fn trim(word: &str, operator: char, value: &str) -> Result<String, ExpandReason> {
    let (longest, pattern) = match word.strip_prefix(operator) {
        Some(pattern) => (true, pattern),
        None => (false, word),
    };
    let compiled = Pattern::parse(pattern)
        .map_err(|source| ExpandReason::InvalidPattern { pattern: pattern.to_owned(), source })?;
    Ok(if operator == '#' {
        compiled.trim_start(value, longest)
    } else {
        compiled.trim_end(value, longest)
    })
}

#[cfg(test)]
#[path = "lexer_tests.rs"]
mod tests;
