//! Dockerfiles that are wrong: one test a kind of mistake.

use anyarch_dockerfile::parse;
use insta::assert_snapshot;

use crate::render::{findings, show, stages};

#[test]
fn unknown_instruction() {
    assert_snapshot!(findings("FROM a\nRUN x\n  COPPY a b\n&& y\n"), @r"
    error[unknown-instruction]: unknown instruction `COPPY`
    3 |   COPPY a b
      |   ^^^^^ did you mean `COPY`?
      = if this continues the line above, end that line with `\`
    error[unknown-instruction]: unknown instruction `&&`
    4 | && y
      | ^^ unknown instruction
      = if this continues the line above, end that line with `\`
    ");
}

#[test]
fn unknown_and_doubled_flags() {
    assert_snapshot!(findings("FROM --platfrom=x a\nCOPY \\\n  --form=b --link --link x y\nCMD --x y\nRUN --mount x\nCOPY --link= --parents=maybe a b\n"), @"
    error[unknown-flag]: unknown flag `--platfrom` of FROM
    1 | FROM --platfrom=x a
      |      ^^^^^^^^^^ did you mean `--platform`?
      = FROM takes --platform
    error[unknown-flag]: unknown flag `--form` of COPY
    3 |   --form=b --link --link x y
      |   ^^^^^^ did you mean `--from`?
      = COPY takes --from, --chown, --chmod, --link, --parents, --exclude
    error[duplicate-flag]: flag `--link` of COPY is given twice
    3 |   --form=b --link --link x y
      |                   ^^^^^^ second use
    error[unknown-flag]: unknown flag `--x` of CMD
    4 | CMD --x y
      |     ^^^ unknown flag
      = CMD takes no flags; write `--` in front of a word that starts with dashes
    error[missing-flag-value]: flag `--mount` of RUN needs a value
    5 | RUN --mount x
      |     ^^^^^^^ write `--mount=...`
    error[missing-flag-value]: flag `--link` of COPY needs a value
    6 | COPY --link= --parents=maybe a b
      |      ^^^^^^ write `--link=...`
    error[invalid-flag-value]: `maybe` is no value for flag `--parents` of COPY
    6 | COPY --link= --parents=maybe a b
      |                        ^^^^^ must be `true` or `false`
    ");
}

#[test]
fn missing_arguments() {
    assert_snapshot!(findings("FROM\nFROM a\nRUN\nCOPY x\nENV\nENV A\nARG\nEXPOSE\nVOLUME []\nHEALTHCHECK\nHEALTHCHECK CMD\nONBUILD\nWORKDIR  \nADD [\"x\"]\n"), @r#"
    error[missing-argument]: FROM needs a base image
    1 | FROM
      | ^^^^ too few arguments
    error[missing-argument]: RUN needs a command
    3 | RUN
      | ^^^ too few arguments
    error[missing-argument]: COPY needs at least one source and a destination
    4 | COPY x
      | ^^^^ too few arguments
    error[missing-argument]: ENV needs a name and a value
    5 | ENV
      | ^^^ too few arguments
    error[missing-argument]: ENV needs a value
    6 | ENV A
      | ^^^ too few arguments
    error[missing-argument]: ARG needs a name
    7 | ARG
      | ^^^ too few arguments
    error[missing-argument]: EXPOSE needs a port
    8 | EXPOSE
      | ^^^^^^ too few arguments
    error[missing-argument]: VOLUME needs a path
    9 | VOLUME []
      | ^^^^^^ too few arguments
    error[missing-argument]: HEALTHCHECK needs `CMD` or `NONE`
    10 | HEALTHCHECK
       | ^^^^^^^^^^^ too few arguments
    error[missing-argument]: HEALTHCHECK needs a command after CMD
    11 | HEALTHCHECK CMD
       | ^^^^^^^^^^^ too few arguments
    error[missing-argument]: ONBUILD needs an instruction
    12 | ONBUILD
       | ^^^^^^^ too few arguments
    error[missing-argument]: WORKDIR needs an argument
    13 | WORKDIR  
       | ^^^^^^^ too few arguments
    error[missing-argument]: ADD needs at least one source and a destination
    14 | ADD ["x"]
       | ^^^ too few arguments
    "#);
}

#[test]
fn exec_form_that_is_no_json() {
    assert_snapshot!(findings("FROM a\nCMD ['a', 'b']\nENTRYPOINT [\"a\", \"b\",]\nRUN [ -f x ] && y\nRUN [ \"$a\" = b ]\nCMD [\"a\", 1]\nSHELL bash -c\n"), @r#"
    warning[json-form]: CMD looks like the exec form, but is no valid JSON
    2 | CMD ['a', 'b']
      |      ^ not JSON from here on; the text is taken as the shell form
      = JSON strings stand in double quotes
    warning[json-form]: ENTRYPOINT looks like the exec form, but is no valid JSON
    3 | ENTRYPOINT ["a", "b",]
      |                      ^ not JSON from here on; the text is taken as the shell form
      = JSON has no comma before the closing bracket
    error[json-not-strings]: the array of CMD may hold strings only
    6 | CMD ["a", 1]
      |     ^^^^^^^^ put every word in double quotes
    error[shell-not-json]: SHELL needs the exec form
    7 | SHELL bash -c
      |       ^^^^^^^ no JSON array of strings
      = write for example `SHELL ["/bin/bash", "-c"]`
    "#);
}

#[test]
fn from_with_too_much() {
    assert_snapshot!(findings("FROM a b\nFROM a to b\nFROM a AS 1b\n"), @"
    error[too-many-arguments]: FROM takes one argument, or three with AS
    1 | FROM a b
      |        ^ not `AS name`
    error[too-many-arguments]: FROM takes one argument, or three with AS
    2 | FROM a to b
      |        ^^^^ not `AS name`
    error[invalid-stage-name]: `1b` cannot be the name of a stage
    3 | FROM a AS 1b
      |           ^^ must be letters, digits, `-`, `_` and `.`, with a letter first
    ");
}

#[test]
fn instructions_before_from() {
    assert_snapshot!(findings("ARG A=1\nRUN x\nCOPY a b\nFROM a\n"), @"
    error[from-missing]: RUN stands before the first FROM
    2 | RUN x
      | ^^^ no stage to belong to
      = only ARG, comments and parser directives may stand before FROM
    ");
}

#[test]
fn no_from_at_all() {
    assert_snapshot!(findings("# nothing\nARG A\n\n"), @"
    error[from-missing]: the Dockerfile has no FROM
    2 | ARG A
      |      ^ no stage up to here
      = start the first stage with `FROM image`
    ");
    assert_snapshot!(findings("# nothing\n"), @"
    error[no-instructions]: the Dockerfile has no instructions
    1 | # nothing
      | ^^^^^^^^^ empty
    ");
}

#[test]
fn names_and_values() {
    assert_snapshot!(findings("FROM a\nENV A=1 B\nENV =x\nARG =x\n"), @"
    error[missing-equals]: `B` of ENV is no `name=value`
    2 | ENV A=1 B
      |         ^ no `=`
      = put a value with blanks in double quotes
    error[blank-name]: a name of ENV cannot be empty
    3 | ENV =x
      |     ^^ no name before `=`
    error[blank-name]: a name of ARG cannot be empty
    4 | ARG =x
      |     ^^ no name before `=`
    ");
}

#[test]
fn heredocs_without_end() {
    assert_snapshot!(findings("FROM a\nRUN cat <<EOF > /x\nhello\n EOF\n"), @"
    error[unterminated-heredoc]: the heredoc `EOF` has no end
    2 | RUN cat <<EOF > /x
      |         ^^^^^ no line below is `EOF` alone
    ");
    assert_snapshot!(findings("FROM a\nCOPY x <<EOF\nEOF\n"), @"
    error[heredoc-destination]: the destination of COPY cannot be a heredoc
    2 | COPY x <<EOF
      |        ^^^^^ no path
    ");
}

#[test]
fn onbuild_triggers() {
    assert_snapshot!(findings("FROM a\nONBUILD ONBUILD RUN x\nONBUILD FROM b\nONBUILD MAINTAINER c\nONBUILD RNU x\n"), @r"
    error[onbuild-trigger]: ONBUILD cannot trigger ONBUILD
    2 | ONBUILD ONBUILD RUN x
      |         ^^^^^^^ not allowed here
    error[onbuild-trigger]: ONBUILD cannot trigger FROM
    3 | ONBUILD FROM b
      |         ^^^^ not allowed here
    error[onbuild-trigger]: ONBUILD cannot trigger MAINTAINER
    4 | ONBUILD MAINTAINER c
      |         ^^^^^^^^^^ not allowed here
    error[unknown-instruction]: unknown instruction `RNU`
    5 | ONBUILD RNU x
      |         ^^^ did you mean `RUN`?
      = if this continues the line above, end that line with `\`
    ");
}

#[test]
fn values_of_flags() {
    assert_snapshot!(findings("FROM a\nRUN --mount=type=cache,traget=/x --mount=type=cahce y\nRUN --network=hots --security=none --device=a,b=c x\nHEALTHCHECK --interval=5 --timeout=1us --retries=-1 CMD x\nHEALTHCHECK NONE x\nHEALTHCHECK curl x\nCOPY --from=$X a b\n"), @"
    error[invalid-mount]: cannot use `--mount=type=cache,traget=/x`: unknown key `traget`
    2 | RUN --mount=type=cache,traget=/x --mount=type=cahce y
      |                        ^^^^^^^^^ unknown key `traget`
      = did you mean `target`?
    error[invalid-mount]: cannot use `--mount=type=cahce`: `cahce` is no value for `type`
    2 | RUN --mount=type=cache,traget=/x --mount=type=cahce y
      |                                          ^^^^^^^^^^ `cahce` is no value for `type`
      = did you mean `cache`?
    error[invalid-flag-value]: `hots` is no value for flag `--network` of RUN
    3 | RUN --network=hots --security=none --device=a,b=c x
      |               ^^^^ did you mean `host`?
    error[invalid-flag-value]: `none` is no value for flag `--security` of RUN
    3 | RUN --network=hots --security=none --device=a,b=c x
      |                               ^^^^ must be one of sandbox, insecure
    error[invalid-flag-value]: cannot use `--device=a,b=c` of RUN
    3 | RUN --network=hots --security=none --device=a,b=c x
      |                                             ^^^^^ unknown field `b=c`
    error[invalid-flag-value]: `5` is no value for flag `--interval` of HEALTHCHECK
    4 | HEALTHCHECK --interval=5 --timeout=1us --retries=-1 CMD x
      |                        ^ must be a duration such as `30s` or `1m30s`
    error[invalid-flag-value]: `1us` is no value for flag `--timeout` of HEALTHCHECK
    4 | HEALTHCHECK --interval=5 --timeout=1us --retries=-1 CMD x
      |                                    ^^^ must be at least 1ms
    error[invalid-flag-value]: `-1` is no value for flag `--retries` of HEALTHCHECK
    4 | HEALTHCHECK --interval=5 --timeout=1us --retries=-1 CMD x
      |                                                  ^^ must be a number, not negative
    error[too-many-arguments]: HEALTHCHECK NONE takes no arguments
    5 | HEALTHCHECK NONE x
      |                  ^ too much
    error[healthcheck-kind]: unknown kind `curl` of HEALTHCHECK
    6 | HEALTHCHECK curl x
      |             ^^^^ must be `CMD` or `NONE`
    error[variable-in-from]: `--from` of COPY takes no variables
    7 | COPY --from=$X a b
      |             ^^ variable
      = name the image in a stage (`FROM $IMAGE AS name`) and copy from that stage
    ");
}

#[test]
fn what_has_no_effect() {
    assert_snapshot!(findings("FROM a\nCOPY x --chown=me y\nCOPY [\"--link\", \"y\"]\n"), @r"
    warning[late-flag]: `--chown` behind the first path of COPY is no flag
    2 | COPY x --chown=me y
      |        ^^^^^^^ taken as a path
      = flags stand right behind COPY
    ");
}

#[test]
fn directives() {
    assert_snapshot!(findings("# escape=x\n# syntax=a\n# syntax=b\n# check=skip=all;error=x\nFROM a\n"), @"
    error[invalid-escape]: `x` cannot be the escape character
    1 | # escape=x
      |          ^ must be a backslash or a backtick
    error[duplicate-directive]: parser directive `syntax` is given twice
    3 | # syntax=b
      | ^^^^^^^^^^ second use
    error[invalid-check-option]: `x` is no value for `error`
    4 | # check=skip=all;error=x
      |                  ^^^^^^^ must be `true` or `false`
    ");
}

#[test]
fn what_is_only_odd_still_builds() {
    let text = "FROM a\nRUN a \\\n\n  b\nMAINTAINER me\n";
    assert_snapshot!(stages(text), @"
    FROM a
      RUN sh[a   b]
      MAINTAINER [me]
    ");
}

#[test]
fn what_is_right_beside_a_mistake_is_still_read() {
    let (file, findings) = parse("FROM a\nRUN one\nBAD\nRUN two\n");
    assert_eq!(findings.len(), 1);
    assert_snapshot!(show(&file), @"
    FROM a
      RUN sh[one]
      RUN sh[two]
    ");
}
