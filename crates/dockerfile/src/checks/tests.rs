//! Good and bad examples of every check.

use std::collections::BTreeMap;

use super::{Facts, Inherited, Options, check, rule};
use crate::ignore::IgnoreFile;

/// `RULE LINE what is marked` of every finding.
fn found_with(text: &str, facts: &Facts<'_>) -> Vec<String> {
    let checked = check(text, facts);
    checked
        .findings
        .iter()
        .map(|finding| {
            let known = rule::find(finding.code).is_some() || finding.code == "unknown-check";
            assert!(known || finding.is_error(), "{} is in no table", finding.code);
            let line = text[..finding.span.start].matches('\n').count() + 1;
            format!("{} {line} {}", finding.code, text[finding.span.clone()].trim_end())
        })
        .collect()
}

fn found(text: &str) -> Vec<String> {
    found_with(text, &Facts::none())
}

/// The labels of all findings.
fn labels(text: &str) -> Vec<String> {
    check(text, &Facts::none()).findings.into_iter().map(|finding| finding.label).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn stage_name_casing() {
    assert_eq!(found("FROM scratch AS Build\n"), ["StageNameCasing 1 Build"]);
    assert_eq!(found("FROM scratch AS build\n"), NOTHING);
}

#[test]
fn from_as_casing() {
    assert_eq!(found("FROM scratch as a\n"), ["FromAsCasing 1 as"]);
    assert_eq!(found("from scratch AS a\n"), ["FromAsCasing 1 AS"]);
    assert_eq!(found("FROM scratch \\\n  As a\n"), ["FromAsCasing 2 As"]);
    assert_eq!(found("from scratch as a\n"), NOTHING);
    assert_eq!(found("From scratch as a\n"), ["ConsistentInstructionCasing 1 From"]);
}

#[test]
fn no_empty_continuation() {
    let text = "FROM scratch\nCOPY a \\\n\n\n  b \\\n # comment\n  /\n";
    assert_eq!(found(text), ["NoEmptyContinuation 3 "]);
    assert_eq!(found("FROM scratch\nCOPY a \\\n# comment\n  /\n"), NOTHING);
}

#[test]
fn consistent_instruction_casing() {
    let text = "FROM scratch\ncopy a /\nCOPY b /\n";
    assert_eq!(found(text), ["ConsistentInstructionCasing 2 copy"]);
    let text = "FROM scratch\ncopy a /\ncopy b /\n";
    assert_eq!(found(text), ["ConsistentInstructionCasing 1 FROM"]);
    assert_eq!(found("from scratch\nCopy a /\n"), ["ConsistentInstructionCasing 2 Copy"]);
    // As many of one as of the other: upper case. What ONBUILD triggers does not count.
    assert_eq!(found("from scratch\nCOPY a /\n"), ["ConsistentInstructionCasing 1 from"]);
    assert_eq!(found("FROM scratch\nONBUILD copy a /\nCOPY <<x /\ncopy\nx\n"), NOTHING);
}

#[test]
fn names_of_stages() {
    let text = "FROM scratch AS a\nFROM scratch AS b\nFROM scratch AS a\n";
    assert_eq!(found(text), ["DuplicateStageName 3 a"]);
    let text = "FROM scratch AS scratch\nFROM scratch AS context\n";
    assert_eq!(found(text), ["ReservedStageName 1 scratch", "ReservedStageName 2 context"]);
}

#[test]
fn json_args_recommended() {
    let text = "FROM scratch\nENTRYPOINT run\nCMD me\n";
    assert_eq!(found(text), ["JSONArgsRecommended 2 ENTRYPOINT", "JSONArgsRecommended 3 CMD"]);
    assert_eq!(found("FROM scratch\nENTRYPOINT [\"run\"]\nHEALTHCHECK CMD me\n"), NOTHING);
    assert_eq!(found("FROM scratch\nSHELL [\"/bin/bash\", \"-c\"]\nCMD me\n"), NOTHING);
    let text = "FROM scratch AS a\nSHELL [\"sh\", \"-c\"]\nFROM a\nCMD me\n";
    assert_eq!(found(text), NOTHING);
    let image = Inherited { shell: true, ..Inherited::default() };
    let facts = Facts { base: &|_| Some(image.clone()), ..Facts::none() };
    assert_eq!(found_with("FROM base\nCMD me\n", &facts), NOTHING);
}

#[test]
fn old_instructions() {
    assert_eq!(found("FROM scratch\nMAINTAINER me\n"), ["MaintainerDeprecated 2 MAINTAINER"]);
    assert_eq!(
        found("FROM scratch\nENV a b c\nLABEL d  e=f\nENV a = b\n"),
        ["LegacyKeyValueFormat 2 a", "LegacyKeyValueFormat 3 d", "LegacyKeyValueFormat 4 a"]
    );
    assert_eq!(found("FROM scratch\nENV a=b\nLABEL c=d e=\"f g\"\n"), NOTHING);
}

#[test]
fn undefined_arg_in_from() {
    let text = "FROM --platform=$BULIDPLATFORM scratch\n";
    assert_eq!(found(text), ["UndefinedArgInFrom 1 $BULIDPLATFORM"]);
    assert_eq!(labels(text), ["did you mean `BUILDPLATFORM`?"]);
    let text = "ARG tag=1\nFROM a:${tag}${version} AS b\n";
    assert_eq!(found(text), ["UndefinedArgInFrom 2 ${version}"]);
    assert_eq!(found("ARG d\nFROM --platform=$BUILDPLATFORM scra${d:-tch}\n"), NOTHING);
    assert_eq!(found("ARG d\nFROM scratch${d}\n"), NOTHING);
}

#[test]
fn workdir_relative_path() {
    assert_eq!(found("FROM scratch\nWORKDIR app\n"), ["WorkdirRelativePath 2 app"]);
    assert_eq!(found("FROM scratch AS a\nWORKDIR /app\nFROM a\nWORKDIR sub\n"), NOTHING);
    assert_eq!(found("FROM scratch\nENV d=/app\nWORKDIR $d/x\nWORKDIR y\n"), NOTHING);
    assert_eq!(found("FROM scratch\nENV d=app\nWORKDIR $d\n"), ["WorkdirRelativePath 3 $d"]);
    // What an unknown image sets may be absolute.
    assert_eq!(found("FROM image\nWORKDIR $HOME_OF_APP\n"), NOTHING);
    let image = Inherited { workdir: true, ..Inherited::default() };
    let facts = Facts { base: &|_| Some(image.clone()), ..Facts::none() };
    assert_eq!(found_with("FROM base\nWORKDIR app\n", &facts), NOTHING);
}

#[test]
fn undefined_var() {
    let text = "FROM scratch\nCOPY $foo .\nARG foo=bar\nCOPY ${foo} $foo /\n";
    assert_eq!(found(text), ["UndefinedVar 2 $foo"]);
    assert_eq!(found("FROM scratch\nENV PATH=$PAHT:/x\n"), ["UndefinedVar 2 $PAHT"]);
    assert_eq!(labels("FROM scratch\nENV PATH=$PAHT:/x\n"), ["did you mean `$PATH`?"]);
    assert_eq!(found("FROM scratch\nENV A=1 B=$A\n"), ["UndefinedVar 2 $A"]);
    let text = "FROM scratch\nLABEL a=\"$x ${x}\" b=\\$y c='$z'\nUSER ${x:-1}\n";
    assert_eq!(found(text), ["UndefinedVar 2 ${x}", "UndefinedVar 3 ${x"]);
    assert_eq!(found("FROM scratch\nRUN echo $a\nHEALTHCHECK CMD $b\nONBUILD ENV a=$c\n"), NOTHING);
    assert_eq!(found("FROM scratch\nRUN --mount=type=cache,target=$t x\n"), ["UndefinedVar 2 $t"]);
    let text = "FROM scratch\nCOPY <<a <<'b' /\n$x\na\n$y\nb\n";
    assert_eq!(found(text), ["UndefinedVar 3 $x"]);
    let text = "ARG v=1\nFROM scratch AS a\nARG v\nARG w=$v TARGETARCH\nENV e=$w$TARGETARCH\nFROM a\nENV f=$v$e\n";
    assert_eq!(found(text), NOTHING);
}

#[test]
fn what_an_unknown_image_sets_is_not_undefined() {
    assert_eq!(found("FROM python\nENV V=$PYTHON_VERSION\n"), NOTHING);
    assert_eq!(found("FROM python\nENV P=$PAHT\n"), ["UndefinedVar 2 $PAHT"]);
    let env = BTreeMap::from([("PYTHON_VERSION".to_owned(), None)]);
    let image = Inherited { env, ..Inherited::default() };
    let facts = Facts { base: &|_| Some(image.clone()), ..Facts::none() };
    let text = "FROM python\nENV V=$PYTHON_VERSION W=$OTHER_ONE\n";
    assert_eq!(found_with(text, &facts), ["UndefinedVar 2 $OTHER_ONE"]);
}

#[test]
fn stages_leave_what_they_set() {
    let text = "FROM scratch\nENV A=1\nARG B=2\nWORKDIR /x\nSHELL [\"sh\"]\nFROM image\n";
    let stages = check(text, &Facts::none()).stages;
    assert_eq!(stages[0].env["A"], Some("1".to_owned()));
    assert!(!stages[0].env.contains_key("B") && !stages[0].more_env);
    assert!(stages[0].workdir && stages[0].shell);
    assert!(stages[1].more_env && !stages[1].workdir);
}

#[test]
fn multiple_instructions_disallowed() {
    let text = "FROM scratch\nCMD [\"a\"]\nCOPY a /\nCMD [\"b\"]\nENTRYPOINT [\"a\"]\nENTRYPOINT [\"b\"]\n";
    assert_eq!(
        found(text),
        ["MultipleInstructionsDisallowed 2 CMD", "MultipleInstructionsDisallowed 5 ENTRYPOINT"]
    );
    assert_eq!(found("FROM scratch AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]\n"), NOTHING);
}

#[test]
fn platforms_in_from() {
    assert_eq!(
        found("FROM --platform=$TARGETPLATFORM scratch\nFROM --platform=${TARGETPLATFORM} a\n"),
        [
            "RedundantTargetPlatform 1 $TARGETPLATFORM",
            "RedundantTargetPlatform 2 ${TARGETPLATFORM}"
        ]
    );
    assert_eq!(found("FROM --platform=$TARGETOS/$TARGETARCH a\n"), NOTHING);
    let text = "FROM --platform=linux/amd64 scratch AS a\n";
    assert_eq!(found(text), ["FromPlatformFlagConstDisallowed 1 linux/amd64"]);
    assert_eq!(found("FROM --platform=linux/x86_64 scratch AS my_amd64\n"), NOTHING);
    assert_eq!(found("FROM --platform=arm64 scratch AS linux\n"), NOTHING);
    assert_eq!(found("FROM --platform=nonsense scratch AS a\n"), NOTHING);
}

#[test]
fn secrets_used_in_arg_or_env() {
    assert_eq!(
        found("ARG TOKEN\nFROM scratch\nARG API_TOKEN PUBLIC_KEY\nENV password=x sunflower=y\n"),
        ["SecretsUsedInArgOrEnv 3 API_TOKEN", "SecretsUsedInArgOrEnv 4 password"]
    );
}

#[test]
fn invalid_default_arg_in_from() {
    assert_eq!(found("ARG V\nFROM a:$V\n"), ["InvalidDefaultArgInFrom 2 a:$V"]);
    assert_eq!(found("ARG I\nFROM $I\n"), ["InvalidDefaultArgInFrom 2 $I"]);
    assert_eq!(found("ARG S=\"box:\"\nFROM busy${S}\n"), ["InvalidDefaultArgInFrom 2 busy${S}"]);
    assert_eq!(found("ARG V=1\nFROM a:$V\nFROM a${W_O:-}\n").len(), 1);
    assert_eq!(found("ARG V\nFROM a:stable${V}\n"), NOTHING);
    let args = BTreeMap::from([("I".to_owned(), "image".to_owned())]);
    let facts = Facts { build_args: &args, ..Facts::none() };
    assert_eq!(found_with("ARG I\nFROM $I\n", &facts), ["InvalidDefaultArgInFrom 2 $I"]);
    let facts = Facts { args_are_fixed: true, ..facts };
    assert_eq!(found_with("ARG I\nFROM $I\n", &facts), NOTHING);
}

#[test]
fn copy_ignored_file() {
    let ignore = IgnoreFile::parse("Dockerfile\nlogs\n!logs/keep\n*.tmp\n").unwrap();
    let facts = Facts { ignore: Some(&ignore), ..Facts::none() };
    let body = "FROM scratch AS a\nCOPY Dockerfile logs x.tmp /\nADD ./Dockerfile https://x/y.tmp /\n\
                COPY --from=a Dockerfile . /\n";
    assert_eq!(found_with(body, &facts), NOTHING);
    let text = format!("# check=experimental=CopyIgnoredFile\n{body}");
    assert_eq!(
        found_with(&text, &facts),
        [
            "CopyIgnoredFile 3 Dockerfile",
            "CopyIgnoredFile 3 x.tmp",
            "CopyIgnoredFile 4 ./Dockerfile"
        ]
    );
    let ignore = IgnoreFile::parse("*\n").unwrap();
    let facts = Facts { ignore: Some(&ignore), ..Facts::none() };
    let text = "# check=experimental=all\nFROM scratch\nCOPY . /\n";
    assert_eq!(found_with(text, &facts), ["CopyIgnoredFile 3 ."]);
}

#[test]
fn invalid_definition_description() {
    let head = "# check=experimental=InvalidDefinitionDescription\n";
    let body = "# bar this is\nARG foo=bar\n# BasE this\nFROM scratch AS base\n# x\nARG a=1 b=2\n";
    assert_eq!(found(body), NOTHING);
    assert_eq!(
        found(&format!("{head}{body}")),
        [
            "InvalidDefinitionDescription 2 bar this is",
            "InvalidDefinitionDescription 4 BasE this",
            "InvalidDefinitionDescription 6 x"
        ]
    );
    let good = "# foo is this\nARG foo=bar\n\n# note\n\nFROM scratch AS base\n# note\n#\nARG c\n\
                # b too\nARG a=1 b=2\n# note\nCOPY a /\n# note\n";
    assert_eq!(found(&format!("{head}{good}")), NOTHING);
    assert_eq!(found(&format!("{head}FROM scratch AS a\n")), NOTHING);
}

#[test]
fn expose() {
    assert_eq!(found("FROM scratch\nEXPOSE 80/TcP 81/udp\n"), ["ExposeProtoCasing 2 80/TcP"]);
    assert_eq!(
        found("FROM scratch\nARG p=5000\nEXPOSE 80 127.0.0.1:80:80 80:8080 $p:$p\n"),
        [
            "ExposeInvalidFormat 3 EXPOSE",
            "ExposeInvalidFormat 3 127.0.0.1:80:80",
            "ExposeInvalidFormat 3 80:8080"
        ]
    );
}

#[test]
fn options_of_the_file() {
    let body = "FROM scratch as base\ncopy a .\n";
    let both = ["FromAsCasing 2 as", "ConsistentInstructionCasing 3 copy"];
    assert_eq!(found(&format!("# check=error=false\n{body}")), both);
    assert_eq!(found(&format!("# check=skip=all\n{body}")), NOTHING);
    assert_eq!(found(&format!("#check=skip=ConsistentInstructionCasing\n{body}")), [both[0]]);
    let checked = check(&format!("# check=error=true\n{body}"), &Facts::none());
    assert!(checked.options.error && checked.findings.iter().all(|finding| finding.is_error()));
    let text = format!("# check=skip=FromAsCase\n{body}");
    assert_eq!(found(&text), ["unknown-check 1 FromAsCase", both[0], both[1]]);
    assert_eq!(labels(&text)[0], "did you mean `FromAsCasing`?");
    let text = format!("# check=error=true;skpi=all\n{body}");
    let checked = check(&text, &Facts::none());
    assert_eq!(checked.findings[0].code, "invalid-check-option");
    assert_eq!(&text[checked.findings[0].span.clone()], "skpi=all");
}

#[test]
fn options_from_outside_replace_those_of_the_file() {
    let text = "# check=skip=all;error=true\nFROM scratch as base\ncopy a .\n";
    let (options, _) = Options::parse("skip=ConsistentInstructionCasing");
    let facts = Facts { options: Some(&options), ..Facts::none() };
    assert_eq!(found_with(text, &facts), ["FromAsCasing 2 as"]);
    assert!(!check(text, &facts).findings[0].is_error());
}

#[test]
fn what_the_parser_warns_of_can_be_skipped() {
    let text = "FROM scratch\nRUN ['a']\n";
    assert_eq!(found(text), ["json-form 2 '"]);
    assert_eq!(found(&format!("# check=skip=json-form\n{text}")), NOTHING);
}

#[test]
fn install_after_copy() {
    let text = "FROM python\nCOPY . /app\nRUN pip install -r /app/requirements.txt\n";
    assert_eq!(found(text), ["install-after-copy 2 ."]);
    let text =
        "FROM python\nCOPY req/ /r/\nRUN <<E\napt-get update && \\\n  apt-get -y install git\nE\n";
    assert_eq!(found(text), ["install-after-copy 2 req/"]);
    let text = "FROM python\nCOPY . /app\nRUN cd /app && pip install -r requirements.txt\n";
    assert_eq!(found(text), ["install-after-copy 2 ."]);
    // A list, a tree that is itself installed, a directory that is taken whole, one copied later.
    for text in [
        "FROM python\nCOPY requirements.txt /\nRUN pip install -r /requirements.txt\nCOPY . /app\n",
        "FROM python\nCOPY . /app\nRUN cd /app && pip install .\n",
        "FROM python\nCOPY wheels/ /w/\nRUN pip install --find-links=/w a\n",
        "FROM python AS a\nCOPY --from=b / /\nRUN pip install a\n",
        "FROM python AS a\nCOPY . /app\nFROM a\nRUN make\n",
    ] {
        assert_eq!(found(text), NOTHING, "{text}");
    }
    let facts = Facts { is_dir: &|path| path == "src", ..Facts::none() };
    let text = "FROM node\nCOPY src package.json /app/\nRUN [\"npm\", \"ci\"]\n";
    assert_eq!(found_with(text, &facts), ["install-after-copy 2 src"]);
}

#[test]
fn floating_image() {
    let text = "FROM r.example/a:latest\nFROM r.example/b AS c\nFROM c\n";
    assert_eq!(
        found(text),
        ["floating-image 1 r.example/a:latest", "floating-image 2 r.example/b"]
    );
    assert_eq!(found("FROM r.example/a:v1\nFROM python\nFROM scratch\n"), NOTHING);
}

#[test]
fn checks_run_beside_errors() {
    let text = "FROM scratch AS Bad\nMAINTAINER me\nBADCMD\n";
    assert_eq!(
        found(text),
        [
            "StageNameCasing 1 Bad",
            "MaintainerDeprecated 2 MAINTAINER",
            "unknown-instruction 3 BADCMD"
        ]
    );
}
