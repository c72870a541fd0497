use super::*;

/// The variables of these tests; `unset` and all others have no value.
fn variable(name: &str) -> Option<String> {
    let value = match name {
        "name" => "anyarch",
        "path" => "/usr/lib/libz.so.1.3",
        "list" => "a  b",
        "star" => "*",
        "lib" => "lib",
        "empty" => "",
        "größe" => "groß",
        "1" => "one",
        "@" => "all",
        _ => return None,
    };
    Some(value.to_owned())
}

fn expand(word: &str) -> String {
    match Lexer::new('\\').expand(word, &mut variable) {
        Ok(text) => text,
        Err(error) => format!("error: {}", error.reason),
    }
}

/// Checks lines of `word => result`.
fn check(table: &str) {
    for case in table.lines().map(str::trim).filter(|case| !case.is_empty()) {
        let (word, expected) = case.split_once(" =>").unwrap();
        assert_eq!(expand(word), expected.trim_start(), "{word}");
    }
}

#[test]
fn variables_with_and_without_braces() {
    check(
        r"
        plain text => plain text
        $name => anyarch
        ${name} => anyarch
        a$name/b${name}c => aanyarch/banyarchc
        $unset. => .
        $empty. => .
        $größe => groß
        $1x $@ $ $/ => onex all $ $/
        $12 =>
        end$ => end$
        ",
    );
}

#[test]
fn defaults_and_alternatives() {
    check(
        r"
        ${unset:-no} ${empty:-no} ${name:-no} => no no anyarch
        ${unset-no} ${empty-no} ${name-no} => no  anyarch
        ${unset:+yes}.${empty:+yes}.${name:+yes} => ..yes
        ${unset+yes}.${empty+yes}.${name+yes} => .yes.yes
        ${unset:-${empty:-$name}} => anyarch
        ${unset:-a b} => a b
        ${unset:-a\}b} => a}b
        ${unset:-'}'} => }
        a${name:+-${name}}z => a-anyarchz
        ${name:?no}${name?no}${empty?no} => anyarchanyarch
        ${empty:?} => error: empty: is not allowed to be empty
        ${unset?} => error: unset: is not allowed to be unset
        ${unset:?set $lib first} => error: unset: set lib first
        ",
    );
}

#[test]
fn patterns_cut_the_start_and_the_end() {
    check(
        r"
        ${path#*/} => usr/lib/libz.so.1.3
        ${path##*/} => libz.so.1.3
        ${path%.*} => /usr/lib/libz.so.1
        ${path%%.*} => /usr/lib/libz
        ${path#/???/} => lib/libz.so.1.3
        ${path%$unset} => /usr/lib/libz.so.1.3
        ${path#/usr/$lib/} => libz.so.1.3
        ${name#\*} => anyarch
        ${star#\*} =>
        ${unset##*/} =>
        ${name%[ch]} => anyarch
        ${name#\n} => error: invalid pattern `\n` in substitution
        ",
    );
}

#[test]
fn patterns_are_replaced() {
    check(
        r"
        ${path/lib/LIB} => /usr/LIB/libz.so.1.3
        ${path//lib/LIB} => /usr/LIB/LIBz.so.1.3
        ${path//\//-} => -usr-lib-libz.so.1.3
        ${path/.*/} => /usr/lib/libz
        ${path//?/x} => xxxxxxxxxxxxxxxxxxxx
        ${name/a*y/$lib} => libarch
        ${unset/a/b} =>
        ${name/x} => error: missing `/` in `${}`
        ",
    );
}

#[test]
fn quotes_go_and_protect() {
    check(
        r#"
        'a $name' => a $name
        "a $name" => a anyarch
        "a 'b' \"c\" \$d \\ \e" => a 'b' "c" $d \ \e
        'a\' => a\
        \$name => $name
        \'a\" => 'a"
        a\ b => a b
        a\\b => a\b
        end\ => end
        "" =>
        "${unset:-"x y"}" => x y
        'open => error: no matching single quote
        "open => error: no matching double quote
        "#,
    );
}

#[test]
fn what_is_no_substitution_is_an_error() {
    check(
        r"
        ${ => error: missing `}`
        ${name => error: missing `}`
        ${name:-x => error: missing `}`
        ${name: => error: missing `}`
        ${} => error: bad substitution
        ${:-x} => error: bad substitution
        ${{name}} => error: bad substitution
        ${name=x} => error: unsupported modifier `=` in substitution
        ${name:=x} => error: unsupported modifier `:=` in substitution
        ${name^} => error: unsupported modifier `^` in substitution
        ",
    );
    assert!(expand(&"${a:-".repeat(100_000)).contains("nested"));
}

#[test]
fn an_error_names_the_word_and_helps() {
    let error = Lexer::new('\\').expand("a-${MODEL:?which model?}", &mut |_| None).unwrap_err();
    insta::assert_snapshot!(error, @"cannot expand `a-${MODEL:?which model?}`: MODEL: which model?");
    insta::assert_snapshot!(error.hint().unwrap(), @"set it with `--build-arg MODEL=...` and an `ARG MODEL` before this line");
}

#[test]
fn words_split_after_expansion_but_not_inside_quotes() {
    let words = |word: &str| Lexer::new('\\').expand_words(word, &mut variable).unwrap();
    assert_eq!(words(r#"a  $list "$list" b\ c 'd e'"#), ["a", "a", "b", "a  b", "b c", "d e"]);
    assert_eq!(words("x${list}y"), ["xa", "by"]);
    assert!(words(r#" "" $empty "#).is_empty());
}

#[test]
fn the_escape_character_can_be_a_backtick() {
    let lexer = Lexer::new('`');
    assert_eq!(lexer.expand(r"C:\$name\`$name", &mut variable).unwrap(), r"C:\anyarch\$name");
    assert_eq!(lexer.expand("\"`\" \\\"", &mut variable).unwrap(), "\" \\");
}

#[test]
fn the_caller_sees_every_variable_that_is_used() {
    let mut used = Vec::new();
    let lookup = &mut |name: &str| {
        used.push(name.to_owned());
        variable(name)
    };
    Lexer::new('\\')
        .expand(r#"$name '$no' "${unset:-$lib}" ${empty:+$list} \$no"#, lookup)
        .unwrap();
    assert_eq!(used, ["name", "lib", "unset", "list", "empty"]);
}

#[test]
fn bodies_of_heredocs_keep_their_quotes() {
    let text = Lexer::for_heredoc().expand("say \"$name\" it's \\$5\n", &mut variable).unwrap();
    assert_eq!(text, "say \"anyarch\" it's $5\n");
}
