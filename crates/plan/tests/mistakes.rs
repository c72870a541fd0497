//! One test for each mistake in a plan file: what a person sees.

use anyarch_plan::{Diagnostic, Severity, parse, read};

/// Findings as "severity[code]: message", the line, a caret line with the label, and the hint.
fn shown(text: &str, found: &[Diagnostic]) -> String {
    found.iter().map(|finding| one(text, finding)).collect::<Vec<_>>().join("\n")
}

fn one(text: &str, finding: &Diagnostic) -> String {
    let start = text[..finding.span.start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let number = text[..finding.span.start].matches('\n').count() + 1;
    let column = finding.span.start - start;
    let width = finding.span.len().clamp(1, (line.len() - column).max(1));
    let severity = if finding.is_error() { "error" } else { "warning" };
    let (margin, gap) = (format!("{number} | "), " ".repeat(number.to_string().len()));
    let mut out = format!("{severity}[{}]: {}\n{margin}{line}\n", finding.code, finding.message);
    out += &format!("{gap} | {}{} {}", " ".repeat(column), "^".repeat(width), finding.label);
    if let Some(hint) = &finding.hint {
        out += &format!("\n{gap} = hint: {hint}");
    }
    out
}

/// What is found in a plan; a sound one must have warnings.
fn mistakes(text: &str) -> String {
    match read(text) {
        Ok(plan) => {
            assert!(!plan.warnings.is_empty(), "nothing was found");
            assert!(plan.warnings.iter().all(|w| w.severity == Severity::Warning));
            shown(text, &plan.warnings)
        }
        Err(found) => {
            assert!(found.iter().any(Diagnostic::is_error), "refused without an error");
            shown(text, &found)
        }
    }
}

const PROJECT: &str = "[project]\nname = \"app\"\n";
const CPU: &str = "[flavor.cpu]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
                   tiers = [{ name = \"base\", dockerfile = \"B\" }, { name = \"app\", dockerfile = \"A\" }]\n";
const CUDA: &str = "[flavor.cuda]\naccelerator = \"cuda\"\nplatforms = [\"linux/amd64\"]\n\
                    tiers = [{ name = \"app\", dockerfile = \"A\" }]\n";

/// Findings in a plan that is sound but for `rest`.
fn with(rest: &str) -> String {
    mistakes(&format!("{PROJECT}{CPU}{rest}"))
}

#[test]
fn the_plan_around_the_mistakes_is_sound() {
    let plan = read(&format!("{PROJECT}{CPU}{CUDA}")).expect("the plan is sound");
    assert!(plan.warnings.is_empty());
}

#[test]
fn not_toml() {
    insta::assert_snapshot!(with("[base.x\n"), @r"
error[syntax]: the plan is not valid TOML: unclosed table, expected `]`
6 | [base.x
  |        ^ here
");
    insta::assert_snapshot!(with("[index.x]\nmembers = [\"cpu\"\n"), @r#"
error[syntax]: the plan is not valid TOML: unclosed array, expected `]`
7 | members = ["cpu"
  |                 ^ here
"#);
    insta::assert_snapshot!(with("[flavor.cpu]\n"), @r"
error[syntax]: the plan is not valid TOML: duplicate key
6 | [flavor.cpu]
  |         ^^^ here
");
}

#[test]
fn empty_file() {
    insta::assert_snapshot!(mistakes(""), @r"
error[missing-key]: the plan has no `[project]` table
1 | 
  | ^ needs `project`
  = hint: add one that starts with `[project]`
error[missing-key]: the plan has no `[flavor.NAME]` table
1 | 
  | ^ needs `flavor`
  = hint: add one that starts with `[flavor.cpu]`
");
}

#[test]
fn unknown_key_of_a_flavor() {
    insta::assert_snapshot!(mistakes(&format!("{PROJECT}[flavor.cpu]\nplatfroms = [\"linux/arm64\"]\ntiers = [{{ name = \"a\", dockerfile = \"D\" }}]\n")), @r#"
error[unknown-key]: unknown key `platfroms` in `[flavor.cpu]`
4 | platfroms = ["linux/arm64"]
  | ^^^^^^^^^ did you mean `platforms`?
  = hint: known keys here: `platforms`, `accelerator`, `tiers`, `smoke` and `on`
"#);
}

#[test]
fn unknown_key_of_a_tier() {
    insta::assert_snapshot!(mistakes(&format!("{PROJECT}[flavor.cpu]\nplatforms = [\"linux/amd64\"]\ntiers = [{{ name = \"a\", dockerfile = \"D\", build_args = {{}}, zoom = 1 }}]\n")), @r#"
error[unknown-key]: unknown key `build_args` in a tier of `[flavor.cpu]`
5 | tiers = [{ name = "a", dockerfile = "D", build_args = {}, zoom = 1 }]
  |                                          ^^^^^^^^^^ did you mean `build-args`?
  = hint: known keys here: `name`, `dockerfile`, `target`, `build-args`, `context` and `contexts`
error[unknown-key]: unknown key `zoom` in a tier of `[flavor.cpu]`
5 | tiers = [{ name = "a", dockerfile = "D", build_args = {}, zoom = 1 }]
  |                                                           ^^^^ not a key of a tier
  = hint: known keys here: `name`, `dockerfile`, `target`, `build-args`, `context` and `contexts`
"#);
}

#[test]
fn unknown_keys_elsewhere() {
    insta::assert_snapshot!(with("[bases.x]\n[base.x]\ndebain = \"bookworm\"\n[sources]\ndebian = { url = \"http://mirror.example\" }\n[flavor.cpu.on.\"linux/arm64\"]\ntiers.base.dockerfile = \"D\"\n"), @r#"
error[unknown-key]: unknown key `bases` in the plan
6 | [bases.x]
  |  ^^^^^ did you mean `base`?
  = hint: known keys here: `project`, `sources`, `base`, `flavor`, `tags` and `index`
error[unknown-key]: unknown key `debain` in `[base.x]`
8 | debain = "bookworm"
  | ^^^^^^ did you mean `debian`?
  = hint: known keys here: `from`, `debian`, `packages`, `components` and `recommends`
error[unknown-key]: unknown key `url` in `[sources.debian]`
10 | debian = { url = "http://mirror.example" }
   |            ^^^ did you mean `uri`?
   = hint: known keys here: `uri`, `suites`, `components`, `signed-by` and `security`
error[unknown-key]: unknown key `tiers` in `[flavor.cpu.on."linux/arm64"]`
12 | tiers.base.dockerfile = "D"
   | ^^^^^ did you mean `tier`?
   = hint: known keys here: `tier` and `smoke`
"#);
}

#[test]
fn wrong_types() {
    insta::assert_snapshot!(with("smoke = \"run me\"\n[base.x]\ndebian = 12\nrecommends = \"no\"\npackages = { }\n[index.x]\nmembers = [1]\n[sources]\ndebian = 7\n[tags]\nlocal = 3.5\n[project.x]\n"), @r#"
error[wrong-type]: `smoke` in `[flavor.cpu]` holds a string where a list of strings belongs
6 | smoke = "run me"
  |         ^^^^^^^^ expected a list of strings, found a string
  = hint: put it in a list: `["run me"]`
error[wrong-type]: `debian` in `[base.x]` holds an integer where a string belongs
8 | debian = 12
  |          ^^ expected a string, found an integer
  = hint: put it in quotes
error[wrong-type]: `recommends` in `[base.x]` holds a string where `true` or `false` belongs
9 | recommends = "no"
  |              ^^^^ expected `true` or `false`, found a string
  = hint: for example `recommends = false`
error[wrong-type]: `packages` in `[base.x]` holds a table where a list of strings belongs
10 | packages = { }
   |            ^^^ expected a list of strings, found a table
   = hint: for example `packages = ["ca-certificates"]`
error[wrong-type]: `members` in `[index.x]` holds an integer where a string belongs
12 | members = [1]
   |            ^ expected a string, found an integer
   = hint: put it in quotes
error[wrong-type]: `debian` in `[sources]` holds an integer where a string or a table or a list belongs
14 | debian = 7
   |          ^ expected a string or a table or a list, found an integer
   = hint: for example `debian = "http://mirror.example/debian"`
error[wrong-type]: `local` in `[tags]` holds a float where a list of strings belongs
16 | local = 3.5
   |         ^^^ expected a list of strings, found a float
   = hint: for example `local = ["{{ flavor }}-{{ arch }}-{{ tier }}"]`
error[unknown-key]: unknown key `x` in `[project]`
17 | [project.x]
   |          ^ not a key of a project
   = hint: known keys here: `name`, `repository`, `version`, `context` and `source-date-epoch`
"#);
    insta::assert_snapshot!(mistakes("project = 1\nflavor = []\nindex = \"latest\"\n"), @r#"
error[wrong-type]: `project` in the plan holds an integer where a table belongs
1 | project = 1
  |           ^ expected a table, found an integer
  = hint: for example `[project]`
error[wrong-type]: `flavor` in the plan holds a list where a table belongs
2 | flavor = []
  |          ^^ expected a table, found a list
  = hint: for example `[flavor.cpu]`
error[wrong-type]: `index` in the plan holds a string where a table belongs
3 | index = "latest"
  |         ^^^^^^^^ expected a table, found a string
  = hint: for example `[index.latest]`
"#);
    insta::assert_snapshot!(mistakes(&format!("[project]\nname = \"app\"\nsource-date-epoch = -1\n{CPU}")), @r"
error[out-of-range]: `source-date-epoch` in `[project]` is out of range
3 | source-date-epoch = -1
  |                     ^^ expected 0 or more, below 2^63
");
}

#[test]
fn wrong_type_of_a_build_argument() {
    insta::assert_snapshot!(with("[flavor.cpu.on.\"linux/arm64\".tier.base]\nbuild-args = { PYTHON = 3.12, EMPTY = \"\" }\n"), @r#"
error[wrong-type]: `PYTHON` in `[flavor.cpu.on."linux/arm64".tier.base.build-args]` holds a float where a string belongs
7 | build-args = { PYTHON = 3.12, EMPTY = "" }
  |                         ^^^^ expected a string, found a float
  = hint: put it in quotes
"#);
}

#[test]
fn missing_keys() {
    insta::assert_snapshot!(mistakes("[project]\n[flavor.cpu]\ntiers = [{ dockerfile = \"D\" }]\n[index.latest]\n"), @r#"
error[missing-key]: `name` is missing in `[project]`
1 | [project]
  |  ^^^^^^^ needs `name`
  = hint: add, for example, `name = "my-app"`
error[missing-key]: `platforms` is missing in `[flavor.cpu]`
2 | [flavor.cpu]
  |         ^^^ needs `platforms`
  = hint: add, for example, `platforms = ["linux/amd64"]`
error[missing-key]: `name` is missing in a tier of `[flavor.cpu]`
3 | tiers = [{ dockerfile = "D" }]
  |          ^^^^^^^^^^^^^^^^^^^^ needs `name`
  = hint: add, for example, `name = "base"`
error[missing-key]: `members` is missing in `[index.latest]`
4 | [index.latest]
  |        ^^^^^^ needs `members`
  = hint: add, for example, `members = ["cpu/amd64", "cpu/arm64"]`
"#);
}

#[test]
fn empty_values() {
    insta::assert_snapshot!(mistakes("[project]\nname = \"\"\n[flavor.cpu]\nplatforms = []\ntiers = []\nsmoke = []\n[index.latest]\nmembers = []\n"), @r#"
error[empty-value]: `name` in `[project]` is empty
2 | name = ""
  |        ^^ nothing in it
  = hint: for example `name = "my-app"`
error[no-platforms]: flavor `cpu` has no platforms
4 | platforms = []
  |             ^^ needs one at least
  = hint: for example `platforms = ["linux/amd64"]`
error[no-tiers]: flavor `cpu` has no tiers
5 | tiers = []
  |         ^^ needs one at least
  = hint: for example `tiers = [{ name = "app", dockerfile = "Dockerfile" }]`
error[empty-value]: the smoke command is empty
6 | smoke = []
  |         ^^ nothing to run
  = hint: for example `smoke = ["my-app", "--version"]`
error[no-members]: index `latest` has no members
8 | members = []
  |           ^^ needs one at least
  = hint: for example `members = ["cpu/amd64"]`
"#);
}

#[test]
fn tier_without_dockerfile() {
    insta::assert_snapshot!(mistakes(&format!("{PROJECT}[flavor.cpu]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\ntiers = [{{ name = \"a\" }}]\n[flavor.cpu.on.\"linux/arm64\"]\ntier.a.dockerfile = \"D\"\n")), @r#"
error[missing-key]: tier `a` of flavor `cpu` has no Dockerfile for linux/amd64
5 | tiers = [{ name = "a" }]
  |          ^^^^^^^^^^^^^^ needs `dockerfile`
  = hint: add, for example, `dockerfile = "Dockerfile"`
"#);
}

#[test]
fn names_that_fit_no_tag() {
    insta::assert_snapshot!(mistakes("[project]\nname = \"My App\"\n[flavor.GPU]\nplatforms = [\"linux/amd64\"]\ntiers = [{ name = \"a b\", dockerfile = \"D\" }]\n[base.-]\ndebian = \"sid\"\n[index.\"a b\"]\nmembers = [\"GPU\"]\n"), @r#"
error[bad-name]: `My App` cannot be the project's name: `My App` is not a repository name: expected lower-case letters, digits and separators (`.`, `_`, `__`, `-`), joined by `/`
2 | name = "My App"
  |        ^^^^^^^^ not the name of a repository
  = hint: use a-z, 0-9, and `-`, `_`, `.` or `/` between them
error[bad-name]: `GPU` cannot be the name of a flavor
3 | [flavor.GPU]
  |         ^^^ expected a-z, 0-9, and `-`, `_` or `.` between them
  = hint: names become parts of tags; try `gpu`
error[bad-name]: `a b` cannot be the name of a tier
5 | tiers = [{ name = "a b", dockerfile = "D" }]
  |                   ^^^^^ expected a-z, 0-9, and `-`, `_` or `.` between them
  = hint: names become parts of tags; try `a-b`
error[bad-name]: `-` cannot be the name of a base
6 | [base.-]
  |       ^ expected a-z, 0-9, and `-`, `_` or `.` between them
  = hint: names become parts of tags: give it 1 to 60 characters
error[bad-name]: `a b` cannot be the name of an index
8 | [index."a b"]
  |        ^^^^^ not a tag
  = hint: the name is a tag: letters, digits, `_`, `.` and `-`
"#);
}

#[test]
fn reserved_names() {
    insta::assert_snapshot!(mistakes(&format!("{PROJECT}[flavor.all]\nplatforms = [\"linux/amd64\"]\ntiers = [{{ name = \"a\", dockerfile = \"D\" }}]\n[base.scratch]\ndebian = \"sid\"\n[index.publish-it]\nmembers = [\"all\"]\n")), @r"
error[reserved-name]: a flavor cannot be named `all`
3 | [flavor.all]
  |         ^^^ the name of a target already
  = hint: `all` and `publish-…` are targets of every plan
error[bad-name]: a base cannot be named `scratch`
6 | [base.scratch]
  |       ^^^^^^^ `FROM scratch` is the empty image
error[reserved-name]: an index cannot be named `publish-it`
8 | [index.publish-it]
  |        ^^^^^^^^^^ the name of a target already
  = hint: `all` and `publish-…` are targets of every plan
");
}

#[test]
fn platforms_that_do_not_parse() {
    insta::assert_snapshot!(mistakes(&format!("{PROJECT}[flavor.cpu]\nplatforms = [\"linux/amr64\", \"arm64\", \"windows/amd64\", \"linux-x86_64\", \"linux/vax\", \"linux/arm64\", \"linux/aarch64\"]\ntiers = [{{ name = \"a\", dockerfile = \"D\" }}]\n")), @r#"
error[bad-platform]: `linux/amr64` is not a platform
4 | platforms = ["linux/amr64", "arm64", "windows/amd64", "linux-x86_64", "linux/vax", "linux/arm64", "linux/aarch64"]
  |              ^^^^^^^^^^^^^ did you mean `linux/arm64`?
  = hint: `amr64` is not a known architecture
error[bad-platform]: `arm64` is not a platform
4 | platforms = ["linux/amr64", "arm64", "windows/amd64", "linux-x86_64", "linux/vax", "linux/arm64", "linux/aarch64"]
  |                             ^^^^^^^ did you mean `linux/arm64`?
  = hint: expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT
error[bad-platform]: `windows/amd64` is not a platform
4 | platforms = ["linux/amr64", "arm64", "windows/amd64", "linux-x86_64", "linux/vax", "linux/arm64", "linux/aarch64"]
  |                                      ^^^^^^^^^^^^^^^ did you mean `linux/amd64`?
  = hint: images are built for linux, not for windows
error[bad-platform]: `linux-x86_64` is not a platform
4 | platforms = ["linux/amr64", "arm64", "windows/amd64", "linux-x86_64", "linux/vax", "linux/arm64", "linux/aarch64"]
  |                                                       ^^^^^^^^^^^^^^ did you mean `linux/amd64`?
  = hint: expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT
error[bad-platform]: `linux/vax` is not a platform
4 | platforms = ["linux/amr64", "arm64", "windows/amd64", "linux-x86_64", "linux/vax", "linux/arm64", "linux/aarch64"]
  |                                                                       ^^^^^^^^^^^ `vax` is not a known architecture
error[duplicate-platform]: flavor `cpu` lists `linux/arm64` twice
4 | platforms = ["linux/amr64", "arm64", "windows/amd64", "linux-x86_64", "linux/vax", "linux/arm64", "linux/aarch64"]
  |                                                                                                   ^^^^^^^^^^^^^^^ same as `linux/arm64`
"#);
}

#[test]
fn duplicate_tier() {
    insta::assert_snapshot!(mistakes(&format!("{PROJECT}[flavor.cpu]\nplatforms = [\"linux/amd64\"]\ntiers = [{{ name = \"a\", dockerfile = \"D\" }}, {{ name = \"a\", dockerfile = \"E\" }}]\n")), @r#"
error[duplicate-tier]: flavor `cpu` has two tiers named `a`
5 | tiers = [{ name = "a", dockerfile = "D" }, { name = "a", dockerfile = "E" }]
  |                                                     ^^^ used before
  = hint: a tier is named once; what differs by platform goes under `on`
"#);
}

#[test]
fn override_for_a_platform_that_is_not_listed() {
    insta::assert_snapshot!(with("[flavor.cpu.on.\"linux/riscv64\".tier]\nbase.dockerfile = \"D\"\n"), @r#"
error[unlisted-platform]: flavor `cpu` has an override for `linux/riscv64`, which it does not list
6 | [flavor.cpu.on."linux/riscv64".tier]
  |                ^^^^^^^^^^^^^^^ not in `platforms`
  = hint: its platforms are `linux/amd64` and `linux/arm64`
"#);
}

#[test]
fn two_overrides_for_one_platform() {
    insta::assert_snapshot!(with("[flavor.cpu.on.\"linux/arm64\".tier]\nbase.dockerfile = \"D\"\n[flavor.cpu.on.\"linux/aarch64\".tier]\nbase.dockerfile = \"E\"\n"), @r#"
error[duplicate-platform]: flavor `cpu` has two overrides for `linux/arm64`
8 | [flavor.cpu.on."linux/aarch64".tier]
  |                ^^^^^^^^^^^^^^^ used before
"#);
}

#[test]
fn override_for_a_tier_that_does_not_exist() {
    insta::assert_snapshot!(with("[flavor.cpu.on.\"linux/arm64\".tier]\nbas.dockerfile = \"D\"\nother.dockerfile = \"D\"\n"), @r#"
error[unknown-tier]: override for the tier `bas`, which flavor `cpu` does not have
7 | bas.dockerfile = "D"
  | ^^^ did you mean `base`?
  = hint: its tiers are `base` and `app`
error[unknown-tier]: override for the tier `other`, which flavor `cpu` does not have
8 | other.dockerfile = "D"
  | ^^^^^ no such tier
  = hint: its tiers are `base` and `app`
"#);
}

#[test]
fn build_arguments_that_cannot_be() {
    insta::assert_snapshot!(with("[flavor.cpu.on.\"linux/arm64\".tier.app]\nbuild-args = { BASE_IMAGE = \"x\", \"A B\" = \"\" }\n"), @r#"
error[reserved-build-arg]: `BASE_IMAGE` is set by the chain and cannot be given
7 | build-args = { BASE_IMAGE = "x", "A B" = "" }
  |                ^^^^^^^^^^ always the tier before this one
  = hint: remove it, or give it to the first tier, which has none before it
error[bad-build-arg]: `A B` cannot be the name of a build argument
7 | build-args = { BASE_IMAGE = "x", "A B" = "" }
  |                                  ^^^^^ expected letters, digits and `_`
"#);
}

#[test]
fn base_without_a_start() {
    insta::assert_snapshot!(with("[base.python]\npackages = [\"python3\"]\n[base.other]\ndebian = \"bookworm\"\nfrom = \"python\"\n"), @r#"
error[missing-key]: `[base.python]` does not say what it starts from
6 | [base.python]
  |       ^^^^^^ needs `debian` or `from`
  = hint: add, for example, `debian = "bookworm"`
error[contradiction]: `[base.other]` starts from both a suite and a base
10 | from = "python"
   |        ^^^^^^^^ either `debian` or `from`
   = hint: the suite is that of the base it starts from: remove `debian`
"#);
}

#[test]
fn unknown_base() {
    insta::assert_snapshot!(with("[base.python]\ndebian = \"bookworm\"\n[base.ml]\nfrom = \"pyton\"\n"), @r#"
error[unknown-base]: `[base.ml]` starts from the unknown base `pyton`
9 | from = "pyton"
  |        ^^^^^^^ did you mean `python`?
  = hint: other bases of this plan: `python`
"#);
    insta::assert_snapshot!(with("[base.ml]\nfrom = \"bookworm\"\n"), @r#"
error[unknown-base]: `[base.ml]` starts from the unknown base `bookworm`
7 | from = "bookworm"
  |        ^^^^^^^^^^ no such base
  = hint: the plan has no other base; for a Debian suite write `debian = …`
"#);
}

#[test]
fn cyclic_bases_are_reported_once() {
    insta::assert_snapshot!(with("[base.a]\nfrom = \"b\"\n[base.b]\nfrom = \"c\"\n[base.c]\nfrom = \"a\"\n[base.d]\nfrom = \"a\"\n[base.e]\nfrom = \"e\"\n"), @r#"
error[cyclic-base]: base `a` starts from itself: a → b → c → a
7 | from = "b"
  |        ^^^ closes a circle
  = hint: one base of the circle needs `debian` instead of `from`
error[cyclic-base]: base `e` starts from itself: e → e
15 | from = "e"
   |        ^^^ closes a circle
   = hint: one base of the circle needs `debian` instead of `from`
"#);
}

#[test]
fn packages_that_cannot_be() {
    insta::assert_snapshot!(with("[base.a]\ndebian = \"book worm\"\n[base.b]\ndebian = \"sid\"\npackages = [\"git curl\", \"Git\", \"git=1:2\", \"git\", \"git\"]\n"), @r#"
error[bad-suite]: `book worm` is not the name of a suite
7 | debian = "book worm"
  |          ^^^^^^^^^^^ not a suite
  = hint: for example `debian = "bookworm"`
error[bad-package]: `git curl` is not the name of a Debian package
10 | packages = ["git curl", "Git", "git=1:2", "git", "git"]
   |             ^^^^^^^^^^ expected a-z, 0-9, `+`, `-` and `.`
   = hint: one string for each package
error[bad-package]: `Git` is not the name of a Debian package
10 | packages = ["git curl", "Git", "git=1:2", "git", "git"]
   |                         ^^^^^ expected a-z, 0-9, `+`, `-` and `.`
   = hint: perhaps `git`
error[bad-package]: `git=1:2` is not the name of a Debian package
10 | packages = ["git curl", "Git", "git=1:2", "git", "git"]
   |                                ^^^^^^^^^ expected a-z, 0-9, `+`, `-` and `.`
   = hint: versions are pinned by the lock file, the architecture by the member
warning[duplicate-package]: package `git` is listed twice in `[base.b]`
10 | packages = ["git curl", "Git", "git=1:2", "git", "git"]
   |                                                  ^^^^^ listed before
"#);
}

#[test]
fn sources_that_are_no_addresses() {
    insta::assert_snapshot!(with("[sources]\ndebian = [\"mirror.example/debian\", \"http://mirror.example/debian\", \"http://mirror.example/debian/\", { uri = \"ftp://mirror.example\" }]\n"), @r#"
error[bad-uri]: `mirror.example/debian` is not the address of an archive
7 | debian = ["mirror.example/debian", "http://mirror.example/debian", "http://mirror.example/debian/", { uri = "ftp://mirror.example" }]
  |           ^^^^^^^^^^^^^^^^^^^^^^^ expected http://, https:// or file:///
  = hint: perhaps `http://mirror.example/debian`
warning[duplicate-source]: the archive `http://mirror.example/debian` is listed twice
7 | debian = ["mirror.example/debian", "http://mirror.example/debian", "http://mirror.example/debian/", { uri = "ftp://mirror.example" }]
  |                                                                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ listed before
error[bad-uri]: `ftp://mirror.example` is not the address of an archive
7 | debian = ["mirror.example/debian", "http://mirror.example/debian", "http://mirror.example/debian/", { uri = "ftp://mirror.example" }]
  |                                                                                                             ^^^^^^^^^^^^^^^^^^^^^^ expected http://, https:// or file:///
  = hint: for example `http://mirror.example/debian`
"#);
}

#[test]
fn repository_and_version_that_cannot_be() {
    let at = |line: &str| mistakes(&format!("{PROJECT}{line}\n{CPU}"));
    insta::assert_snapshot!(at("repository = \"ghcr.io/User/App\""), @r#"
error[bad-repository]: `ghcr.io/User/App` is not a repository: `User/App` is not a repository name: expected lower-case letters, digits and separators (`.`, `_`, `__`, `-`), joined by `/`
3 | repository = "ghcr.io/User/App"
  |              ^^^^^^^^^^^^^^^^^^ expected HOST/PATH
  = hint: repositories are lower case: `ghcr.io/user/app`
"#);
    insta::assert_snapshot!(at("repository = \"user/app\""), @r#"
error[bad-repository]: `user/app` does not say which registry
3 | repository = "user/app"
  |              ^^^^^^^^^^ expected HOST/PATH
  = hint: put the registry's host first: `ghcr.io/user/app`
"#);
    insta::assert_snapshot!(at("repository = \"ghcr.io/user/app:v1\""), @r#"
error[bad-repository]: `ghcr.io/user/app:v1` names one image, not a repository
3 | repository = "ghcr.io/user/app:v1"
  |              ^^^^^^^^^^^^^^^^^^^^^ tag or digest not wanted
  = hint: leave the tag out; tags come from `[tags]` and `[index.NAME]`
"#);
    insta::assert_snapshot!(at("version = \"1.0 beta\""), @r#"
error[bad-version]: the version `1.0 beta` cannot be part of a tag
3 | version = "1.0 beta"
  |           ^^^^^^^^^^ expected `git` or a version such as `v1.0.0`
  = hint: tags hold letters, digits, `_`, `.` and `-` only
"#);
    insta::assert_snapshot!(at("context = \"/src\""), @r#"
warning[absolute-path]: the context is an absolute path
3 | context = "/src"
  |           ^^^^^^ exists on this machine only
  = hint: write it relative to the folder of the plan
"#);
}

#[test]
fn index_with_an_unknown_member() {
    insta::assert_snapshot!(with("[index.latest]\nmembers = [\"cpu/arm46\", \"gpu\", \"cpu/amd64\", \"cpu/*\"]\n"), @r#"
error[unknown-member]: unknown member `cpu/arm46`
7 | members = ["cpu/arm46", "gpu", "cpu/amd64", "cpu/*"]
  |            ^^^^^^^^^^^ did you mean `cpu/arm64`?
  = hint: members of this plan: `cpu/amd64` and `cpu/arm64`
error[unknown-member]: unknown member `gpu`
7 | members = ["cpu/arm46", "gpu", "cpu/amd64", "cpu/*"]
  |                         ^^^^^ no such member
  = hint: members of this plan: `cpu/amd64` and `cpu/arm64`
error[duplicate-member]: index `latest` lists `cpu/amd64` twice
7 | members = ["cpu/arm46", "gpu", "cpu/amd64", "cpu/*"]
  |                                             ^^^^^^^ listed before
"#);
}

#[test]
fn index_with_an_ambiguous_member() {
    insta::assert_snapshot!(with("[index.latest]\nmembers = [\"cpu\"]\n"), @r#"
error[ambiguous-member]: `cpu` is more than one member: `cpu/amd64` and `cpu/arm64`
7 | members = ["cpu"]
  |            ^^^^^ which one?
  = hint: write `cpu/*` for all of them
"#);
}

#[test]
fn index_whose_plain_pull_is_ambiguous() {
    insta::assert_snapshot!(with(&format!("{CUDA}[index.latest]\nmembers = [\"cuda\", \"cpu/amd64\"]\n")), @r#"
warning[ambiguous-pull]: a plain pull of `latest` on linux/amd64 gets `cuda/amd64`, which is for cuda
11 | members = ["cuda", "cpu/amd64"]
   |                    ^^^^^^^^^^^ never chosen
   = hint: the first match wins: list `cpu/amd64` before `cuda/amd64`
"#);
    let slim = CPU.replace("cpu", "slim");
    insta::assert_snapshot!(with(&format!("{slim}[index.latest]\nmembers = [\"cpu/amd64\", \"slim/amd64\"]\n")), @r#"
warning[ambiguous-pull]: a plain pull of `latest` on linux/amd64 can only get `cpu/amd64`
10 | members = ["cpu/amd64", "slim/amd64"]
   |                         ^^^^^^^^^^^^ never chosen
   = hint: nothing tells the two apart; give one an `accelerator`, or another index
"#);
}

#[test]
fn clashing_targets() {
    insta::assert_snapshot!(with(&CUDA.replace("flavor.cuda", "flavor.cpu-base")), @r"
error[clashing-target]: the target `cpu-base` would be both flavor `cpu`, tier `base` and flavor `cpu-base`
6 | [flavor.cpu-base]
  |         ^^^^^^^^ needs another name
  = hint: short targets are made from the names of flavors, tiers and indexes; rename one
");
    insta::assert_snapshot!(with(&CUDA.replace("flavor.cuda", "flavor.arm64")), @r"
error[clashing-target]: the target `arm64` would be both member `cpu/arm64` and flavor `arm64`
6 | [flavor.arm64]
  |         ^^^^^ needs another name
  = hint: short targets are made from the names of flavors, tiers and indexes; rename one
");
    insta::assert_snapshot!(with("[index.amd64]\nmembers = [\"cpu/*\"]\n"), @r"
error[clashing-target]: the target `amd64` would be both member `cpu/amd64` and index `amd64`
6 | [index.amd64]
  |        ^^^^^ needs another name
  = hint: short targets are made from the names of flavors, tiers and indexes; rename one
");
    insta::assert_snapshot!(with(&CUDA.replace("flavor.cuda", "flavor.base")), @r"
error[clashing-target]: the target `publish-base-amd64` would be both member `base/amd64` and member `cpu/amd64`, tier `base`
3 | [flavor.cpu]
  |         ^^^ needs another name
  = hint: short targets are made from the names of flavors, tiers and indexes; rename one
error[clashing-target]: the target `publish-base` would be both flavor `base` and tier `base` of the whole family
6 | [flavor.base]
  |         ^^^^ needs another name
  = hint: short targets are made from the names of flavors, tiers and indexes; rename one
");
}

#[test]
fn clashing_tags() {
    insta::assert_snapshot!(with("[index.latest-cpu-amd64]\nmembers = [\"cpu/*\"]\n"), @r"
error[clashing-tag]: the published tag `latest-cpu-amd64` would be both `cpu/amd64` and index `latest-cpu-amd64`
6 | [index.latest-cpu-amd64]
  |        ^^^^^^^^^^^^^^^^ needs another name
  = hint: rename one of the two, or change the templates in `[tags]`
");
    insta::assert_snapshot!(with("[tags]\nlocal = [\"{{ flavor }}-{{ tier }}\"]\n"), @r#"
error[clashing-tag]: the local tag `cpu-base` would be both `cpu/amd64:base` and tier `base` of flavor `cpu`
7 | local = ["{{ flavor }}-{{ tier }}"]
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^ not enough in it
  = hint: add what differs: flavor, arch or tier
"#);
}

#[test]
fn bad_templates() {
    insta::assert_snapshot!(with("[tags]\nlocal = [\"{{ flavr }}\"]\ngathered = [\"{{ flavor\"]\nindex = [\"{{ index }}!\"]\n[index.x]\nmembers = [\"cpu/*\"]\n"), @r#"
error[bad-template]: unknown variable `flavr` in a tag template
7 | local = ["{{ flavr }}"]
  |          ^^^^^^^^^^^^^ did you mean `flavor`?
  = hint: known variables: name, flavor, arch, tier, version, registry, accelerator, last, plain, single, index
error[bad-template]: the tag template is wrong
8 | gathered = ["{{ flavor"]
  |             ^^^^^^^^^^^ unexpected end of input, expected end of variable block
error[bad-template]: the tag template gives `x!`, which is not a tag
9 | index = ["{{ index }}!"]
  |          ^^^^^^^^^^^^^^ not a tag
  = hint: a tag is at most 128 letters, digits, `_`, `.` and `-`
"#);
    insta::assert_snapshot!(with("[tags]\nlocal = [\"{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}\"]\n"), @r#"
error[bad-template]: unknown variable `range` in a tag template
7 | local = ["{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}"]
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ no such variable
  = hint: known variables: name, flavor, arch, tier, version, registry, accelerator, last, plain, single, index
"#);
}

#[test]
fn smoke_command_that_cannot_fail() {
    insta::assert_snapshot!(with("smoke = [\"sh\", \"-c\", \"app selftest || echo failed\"]\n"), @r#"
warning[smoke-cannot-fail]: the smoke command cannot fail
6 | smoke = ["sh", "-c", "app selftest || echo failed"]
  |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `||` hides the failure
  = hint: let the command's own exit status decide
"#);
}

#[test]
fn every_prefix_of_a_plan_is_read_without_panic() {
    let text = format!(
        "{PROJECT}{CPU}{CUDA}[index.latest]\nmembers = [\"cpu/*\", \"cuda\"]\n[tags]\nlocal = [\"ä{{{{ arch }}}}\"]\n"
    );
    for (at, _) in text.char_indices() {
        let (_, found) = parse(&text[..at]);
        for finding in found.iter().chain(&read(&text[..at]).err().unwrap_or_default()) {
            assert!(finding.span.end <= at && text.is_char_boundary(finding.span.start));
            assert!(!finding.message.is_empty() && !finding.label.is_empty());
        }
    }
}

#[test]
fn templates_that_never_end_or_fill_memory() {
    let at = |template: &str| with(&format!("[tags]\nlocal = [\"{template}\"]\n"));
    let loops = "{% for a in [1,2,3,4,5,6,7,8,9] %}".repeat(8);
    let ends = "{% endfor %}".repeat(8);
    assert!(at(&format!("{loops}x{ends}")).starts_with("error[bad-template]"));
    assert!(at("{{ 'xxxxxxxx' * 99999999999 }}").starts_with("error[bad-template]"));
}

#[test]
fn two_members_for_one_accelerator() {
    let other = CUDA.replace("flavor.cuda", "flavor.fast");
    insta::assert_snapshot!(with(&format!("{CUDA}{other}[index.latest]\nmembers = [\"cpu/*\", \"cuda\", \"fast\"]\n")), @r#"
warning[ambiguous-pull]: a pull of `latest` for cuda on linux/amd64 can only get `cuda/amd64`
15 | members = ["cpu/*", "cuda", "fast"]
   |                             ^^^^^^ never chosen
   = hint: nothing tells the two apart; give one another `accelerator`, or another index
"#);
}

#[test]
fn an_index_with_plain_members_first_is_sound() {
    let rocm = CUDA.replace("cuda", "rocm");
    let text = format!(
        "{PROJECT}{CPU}{CUDA}{rocm}[index.latest]\nmembers = [\"cpu/*\", \"cuda\", \"rocm\"]\n"
    );
    assert_eq!(read(&text).expect("the plan is sound").warnings, []);
}

#[test]
fn tags_that_name_another_architecture() {
    insta::assert_snapshot!(with("[index.latest-arm64]\nmembers = [\"cpu/amd64\"]\n"), @r"
warning[misleading-tag]: the published tag `latest-arm64` names arm64, and is for `cpu/amd64`
6 | [index.latest-arm64]
  |        ^^^^^^^^^^^^ another architecture
  = hint: rename it, or change the templates in `[tags]`
");
    insta::assert_snapshot!(with("[index.all-aarch64]\nmembers = [\"cpu/*\"]\n"), @r"
warning[misleading-tag]: the published tag `all-aarch64` names aarch64, and is for `cpu/amd64`
6 | [index.all-aarch64]
  |        ^^^^^^^^^^^ another architecture
  = hint: rename it, or change the templates in `[tags]`
");
    insta::assert_snapshot!(with("[tags]\nlocal = [\"{{ flavor }}-{{ tier }}-{{ 'arm64' if arch == 'amd64' else 'amd64' }}\"]\n"), @r#"
warning[misleading-tag]: the local tag `cpu-base-arm64` names arm64, and is for `cpu/amd64`
7 | local = ["{{ flavor }}-{{ tier }}-{{ 'arm64' if arch == 'amd64' else 'amd64' }}"]
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ another architecture
  = hint: write `{{ arch }}` in the template
"#);
    insta::assert_snapshot!(with(&format!("{CUDA}[tags]\npublish = [\"{{% if accelerator %}}{{{{ version }}}}-arm64{{% else %}}{{{{ arch }}}}{{% endif %}}\"]\n")), @r#"
warning[misleading-tag]: the published tag `VERSION-arm64` names arm64, and is for `cuda/amd64`
11 | publish = ["{% if accelerator %}{{ version }}-arm64{% else %}{{ arch }}{% endif %}"]
   |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ another architecture
   = hint: write `{{ arch }}` in the template
"#);
    insta::assert_snapshot!(mistakes(&format!("{PROJECT}{}", CUDA.replace("flavor.cuda", "flavor.arm64"))), @r"
warning[misleading-tag]: the local tag `arm64-dev` names arm64, and is for `arm64/amd64`
3 | [flavor.arm64]
  |         ^^^^^ another architecture
  = hint: rename it, or change the templates in `[tags]`
");
}

#[test]
fn tags_that_name_their_own_architecture_are_sound() {
    let cpu = CPU.replace("linux/arm64", "linux/arm/v7");
    let text = format!(
        "{PROJECT}{cpu}[index.latest-armv7]\nmembers = [\"cpu/armv7\"]\n[index.arm]\nmembers = [\"cpu/armv7\"]\n[index.x86_64-and-armv7]\nmembers = [\"cpu/*\"]\n"
    );
    assert_eq!(read(&text).expect("the plan is sound").warnings, []);
}

#[test]
fn two_images_under_one_published_tag() {
    insta::assert_snapshot!(with("[tags]\npublish = [\"{{ flavor }}\"]\n"), @r#"
error[clashing-tag]: the published tag `cpu` would be both `cpu/amd64` and `cpu/arm64`
7 | publish = ["{{ flavor }}"]
  |            ^^^^^^^^^^^^^^ not enough in it
  = hint: add what differs: flavor, arch or tier
"#);
}
