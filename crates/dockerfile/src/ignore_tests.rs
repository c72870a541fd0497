use super::*;

fn ignore(text: &str) -> IgnoreFile {
    IgnoreFile::parse(text).unwrap()
}

/// Which of the paths the file excludes.
fn excluded<'a>(text: &str, paths: &'a str) -> Vec<&'a str> {
    let file = ignore(text);
    paths.split(' ').filter(|path| file.excludes(path, false)).collect()
}

#[test]
fn plain_patterns_count_from_the_root_and_reach_below() {
    assert_eq!(
        excluded("target", "target target/a/b src/target targets"),
        ["target", "target/a/b"]
    );
    assert_eq!(excluded("/target/", "target target/a src/target"), ["target", "target/a"]);
    assert_eq!(excluded("./a//b/../c", "a/c a/c/d a/b"), ["a/c", "a/c/d"]);
    assert_eq!(excluded("*.log", "x.log a/x.log .log"), ["x.log", ".log"]);
    assert_eq!(excluded("a/*", "a a/b a/b/c"), ["a/b", "a/b/c"]);
    assert_eq!(excluded("a/?", "a/b a/bc"), ["a/b"]);
    assert_eq!(excluded("[ab].c", "a.c b.c c.c"), ["a.c", "b.c"]);
    assert_eq!(excluded("[^ab].c", "a.c b.c c.c"), ["c.c"]);
    assert_eq!(excluded(r"\*", "* a"), ["*"]);
    assert_eq!(excluded("a.b+(c)", "a.b+(c) axb+(c)"), ["a.b+(c)"]);
}

#[test]
fn two_stars_are_any_number_of_directories() {
    assert_eq!(
        excluded("**/cache", "cache a/cache a/b/cache/x mycache"),
        ["cache", "a/cache", "a/b/cache/x"]
    );
    assert_eq!(excluded("**/*.pyc", "a.pyc a/b.pyc a/b.py"), ["a.pyc", "a/b.pyc"]);
    assert_eq!(excluded("a/**", "a a/b a/b/c"), ["a/b", "a/b/c"]);
    assert_eq!(excluded("a/**/z", "a/z a/b/z a/b/c/z az"), ["a/z", "a/b/z", "a/b/c/z"]);
    assert_eq!(excluded("**", "a a/b .git"), ["a", "a/b", ".git"]);
    assert_eq!(excluded("**/a/**", "a b/a b/a/c a/c"), ["b/a/c", "a/c"]);
    // Without a slash behind them they end in the middle of a name, as moby has it.
    assert_eq!(excluded("**log", "log a.log b/a.log logs"), ["log", "a.log", "b/a.log"]);
    assert_eq!(excluded("x**y", "xy xay xa/y x/y"), ["xy", "xa/y", "x/y"]);
}

#[test]
fn the_last_match_decides() {
    assert_eq!(excluded("*\n!src\n", "a src src/b"), ["a"]);
    assert_eq!(excluded("docs\n!docs/README.md", "docs docs/a docs/README.md"), ["docs", "docs/a"]);
    assert_eq!(excluded("!a\na", "a"), ["a"]);
    assert_eq!(excluded("**\n!src\nsrc/**/*.tmp", "src src/a src/b/c.tmp x"), ["src/b/c.tmp", "x"]);
    assert_eq!(
        excluded("*.md\n!README*.md\nREADME-secret.md", "a.md README.md README-secret.md"),
        ["a.md", "README-secret.md"]
    );
}

#[test]
fn comments_blanks_and_line_ends() {
    assert_eq!(excluded("\u{feff}a\r\n#b\r\n  c  \r\n\r\n#", "a b c #b"), ["a", "c"]);
    assert_eq!(excluded(" #d", "#d"), ["#d"]);
    assert_eq!(excluded("a\n! a", "a"), [""; 0]);
    assert!(ignore("# nothing\n\n").is_empty());
}

#[test]
fn the_root_is_never_excluded() {
    assert_eq!(excluded("**\n.\n/", ". ./"), [""; 0]);
}

#[test]
fn patterns_that_cannot_be_used_name_their_line() {
    insta::assert_snapshot!(IgnoreFile::parse("a\n!").unwrap_err(), @"cannot use line 2 of the ignore file");
    let error = IgnoreFile::parse("# x\n\n[a-").unwrap_err();
    assert_eq!(error.line, 3);
    insta::assert_snapshot!(error.source, @"malformed pattern `[a-`: a `[` without its `]`, or an empty class");
    assert!(IgnoreFile::parse("!/").is_err());
    assert!(IgnoreFile::from_patterns(["ok", "a\\"]).is_err());
}

#[test]
fn flags_take_patterns_that_look_like_comments() {
    assert!(IgnoreFile::from_patterns(["#a"]).unwrap().excludes("#a", false));
}

#[test]
fn walkers_learn_where_nothing_can_come_back() {
    let open = |text: &str, dir: &str| ignore(text).may_reinclude_below(dir);
    assert!(!open("node_modules", "node_modules"));
    assert!(open("a\n!a/b/c", "a"));
    assert!(open("a\n!a/b/c", "a/b"));
    assert!(!open("a\n!a/b/c", "a/x"));
    assert!(!open("a\n!a/b/c", "ab"));
    assert!(open("**\n!**/*.py", "any/where"));
    assert!(open("*\n!s*/lib", "src"));
    assert!(!open("*\n!s*/lib", "docs"));
    // A later pattern shuts the directory for good.
    assert!(!open("a\n!a/b\na", "a"));
    assert!(!open("*\n!src\n", "other"));
    assert!(open("*", "."));
}
