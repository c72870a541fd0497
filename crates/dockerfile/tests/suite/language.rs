//! Dockerfiles that are right: what is read from them.

use crate::render::{show, stages};
use anyarch_dockerfile::{Kind, parse, parse_trigger};
use insta::assert_snapshot;

#[test]
fn stages_names_and_platforms() {
    assert_snapshot!(stages(
        "ARG BASE=python:3.12 TAG\nFROM --platform=$BUILDPLATFORM ${BASE}-slim AS Build\nFROM scratch\nfrom build as a.b-c_1\n"
    ), @r#"
    ARG BASE=Some("python:3.12") TAG=None
    FROM ${BASE}-slim AS build on $BUILDPLATFORM
    FROM scratch
    FROM build AS a.b-c_1
    "#);
}

#[test]
fn every_instruction() {
    assert_snapshot!(stages(r#"FROM a
ARG X Y=1 Z="a b"
ENV A=1 B="two words" C=th\ ree D='$A'
LABEL org.x="1" "with space"=2
RUN echo hi
RUN ["echo", "hi\t\u00e9"]
WORKDIR /a b
USER $UID:$GID
EXPOSE 9000 80/tcp 53/udp
VOLUME /a /b
VOLUME ["/c d"]
ENTRYPOINT ["/bin/x"]
FROM b
ENTRYPOINT exec x
CMD []
SHELL ["/bin/bash", "-c"]
STOPSIGNAL SIGTERM
HEALTHCHECK NONE
FROM c
HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0s --start-interval=5s --retries=3 CMD curl x || exit 1
FROM d
HEALTHCHECK CMD ["a", "b"]
ONBUILD RUN ["x"]
"#), @r#"
    FROM a
      ARG X=None Y=Some("1") Z=Some("\"a b\"")
      ENV [A]=[1] [B]=["two words"] [C]=[th\ ree] [D]=['$A']
      LABEL [org.x]=["1"] ["with space"]=[2]
      RUN sh[echo hi]
      RUN exec["echo", "hi\té"]
      WORKDIR [/a b]
      USER [$UID:$GID]
      EXPOSE ["53/udp", "80/tcp", "9000"]
      VOLUME ["/a", "/b"]
      VOLUME ["/c d"]
      ENTRYPOINT exec["/bin/x"]
    FROM b
      ENTRYPOINT sh[exec x]
      CMD exec[]
      SHELL ["/bin/bash", "-c"]
      STOPSIGNAL [SIGTERM]
      HEALTHCHECK None
    FROM c
      HEALTHCHECK Check { command: Shell("curl x || exit 1"), interval: Some(90s), timeout: Some(500ms), start_period: None, start_interval: Some(5s), retries: Some(3) }
    FROM d
      HEALTHCHECK Check { command: Exec(["a", "b"]), interval: None, timeout: None, start_period: None, start_interval: None, retries: None }
      ONBUILD <RUN exec["x"]>
    "#);
}

#[test]
fn flags_of_run_copy_and_add() {
    assert_snapshot!(stages(r#"FROM a
RUN --mount=type=cache,target=/c --mount=target=/src --network=none --security=insecure --device=x.com/y=0,required make
RUN --network=default -- --odd
COPY --from=build --chown=1:2 --chmod=u=rwX,go=rX --link --parents --exclude=*.md --exclude="a b" x* y /z/
COPY --link=false ["a b", "c"]
ADD --checksum=sha256:00 --keep-git-dir=true --unpack=false --link --chown=x --chmod=644 --exclude=q https://mirror.example/f.tgz /f
"#), @r#"
    FROM a
      RUN sh[make] mount=type=cache,target=/c mount=target=/src network=None insecure device=x.com/y=0:true
      RUN sh[--odd] network=Default
      COPY x*,y -> /z/ [Some("build"), Some("1:2"), Some("u=rwX,go=rX")] link=true parents=true exclude=["*.md", "a b"]
      COPY a b -> c [None, None, None] link=false parents=false exclude=[]
      ADD https://mirror.example/f.tgz -> /f [Some("x"), Some("644"), Some("sha256:00")] link=true exclude=["q"] keep-git-dir=Some(true) unpack=Some(false)
    "#);
}

#[test]
fn continuations_comments_and_line_ends() {
    assert_snapshot!(stages(
        "\u{feff}# a comment\r\nFROM a\r\n  # indented\r\nRUN one \\\r\n  # inside\r\n  && two \\ \t\r\n#\r\n  && three\r\n\r\nRUN end\\\\\nRUN last \\"
    ), @r"
    FROM a
      RUN sh[one   && two   && three]
      RUN sh[end\\]
      RUN sh[last]
    ");
    let text = "FROM a\nRUN a \\\n b\n";
    let run = &parse(text).0.stages[0].instructions[0];
    assert_eq!(run.text, "RUN a  b");
    assert_eq!(run.span.lines, 2..=3);
    assert_eq!(&text[run.span.bytes.clone()], "RUN a \\\n b");
}

#[test]
fn parser_directives() {
    let (file, diagnostics) = parse(
        "# Syntax = docker/dockerfile:1\n#escape=`\n# check=skip=all\nFROM a\nRUN dir C:\\ `\n && b\n",
    );
    assert!(diagnostics.is_empty());
    assert_eq!(file.directives.syntax.as_deref(), Some("docker/dockerfile:1"));
    assert_eq!(file.directives.check.as_deref(), Some("skip=all"));
    assert_eq!(file.directives.escape, '`');
    assert_snapshot!(show(&file), @r"
    FROM a
      RUN sh[dir C:\  && b]
    ");
    // After any other line a directive is a comment.
    assert_eq!(parse("# hello\n# escape=`\nFROM a\n").0.directives.escape, '\\');
    assert_eq!(parse("\n# escape=`\nFROM a\n").0.directives.escape, '\\');
}

#[test]
fn heredocs() {
    assert_snapshot!(stages("FROM a
RUN <<EOF
apt update
  # kept \\
EOF
RUN <<-'END' cat 3<<B | sh
\tone
\tEND
two $X
B
COPY --chmod=755 <<\"a.sh\" <<b.txt x /bin/
echo
a.sh
$Y
b.txt
ADD <<f /d
f
COPY [\"<<f\", \"/d\"]
RUN echo '<<no' $((1<<2)) <<<here
ONBUILD RUN <<E
x
E
"), @r#"
    FROM a
      RUN sh[<<EOF]
        EOF expand=true strip=false fd=None "apt update\n  # kept \\\n"
      RUN sh[<<-'END' cat 3<<B | sh]
        END expand=false strip=true fd=None "\tone\n"
        B expand=true strip=false fd=Some(3) "two $X\n"
      COPY x -> /bin/ [None, None, Some("755")] link=false parents=false exclude=[]
        a.sh expand=false strip=false fd=None "echo\n"
        b.txt expand=true strip=false fd=None "$Y\n"
      ADD  -> /d [None, None, None] link=false exclude=[] keep-git-dir=None unpack=None
        f expand=true strip=false fd=None ""
      COPY <<f -> /d [None, None, None] link=false parents=false exclude=[]
      RUN sh[echo '<<no' $((1<<2)) <<<here]
      ONBUILD <RUN sh[<<E]
        E expand=true strip=false fd=None "x\n">
    "#);
}

#[test]
fn spans_of_heredocs_reach_to_the_delimiter() {
    let text = "FROM a\nRUN <<E cat\nbody\nE\nUSER b\n";
    let (file, _) = parse(text);
    let [run, user] = &file.stages[0].instructions[..] else { panic!("two instructions") };
    assert_eq!(&text[run.span.bytes.clone()], "RUN <<E cat\nbody\nE");
    assert_eq!((run.span.lines.clone(), user.span.lines.clone()), (2..=4, 5..=5));
    assert_eq!(run.text, "RUN <<E cat");
    assert_eq!(run.source(), "RUN <<E cat\nbody\nE");
}

#[test]
fn what_a_run_step_starts() {
    let invocation = |text: &str| {
        let (file, _) = parse(&format!("FROM a\nRUN {text}\n"));
        let Kind::Run(run) = &file.stages[0].instructions[0].kind else { panic!("no RUN") };
        run.invocation(&["/bin/sh".to_owned(), "-c".to_owned()])
    };
    assert_eq!(invocation("a $b").argv, ["/bin/sh", "-c", "a $b"]);
    assert_eq!(invocation("[\"a\", \"$b\"]").argv, ["a", "$b"]);
    assert_eq!(invocation("<<E\none\ntwo\nE").argv, ["/bin/sh", "-c", "one\ntwo\n"]);
    assert_eq!(invocation("<<-E\n\tone\n\t\ttwo\n\tE").argv, ["/bin/sh", "-c", "one\ntwo\n"]);
    assert_eq!(
        invocation("cat <<A - <<B\n1\nA\n2\nB").argv,
        ["/bin/sh", "-c", "cat <<A - <<B\n1\nA\n2\nB"]
    );
    let script = invocation("<<a.py\n#!/usr/bin/python3\nprint()\na.py");
    assert_eq!(script.argv, ["/bin/sh", "-c", "/dev/pipes/a.py"]);
    let file = script.script.unwrap();
    assert_eq!(
        (file.path.as_str(), file.content.as_str()),
        ("/dev/pipes/a.py", "#!/usr/bin/python3\nprint()\n")
    );
}

#[test]
fn words_know_their_places() {
    let text = "FROM a AS b\nCOPY --from=c \\\n  src/x \\\n  /dst\n";
    let (file, _) = parse(text);
    let Kind::Copy(copy) = &file.stages[0].instructions[0].kind else { panic!("no COPY") };
    let from = copy.from.as_ref().unwrap();
    let places =
        [&copy.sources[0].span, &copy.destination.span, &from.span, &file.stages[0].base_span];
    assert_eq!(places.map(|span| &text[span.clone()]), ["src/x", "/dst", "c", "a"]);
}

#[test]
fn text_for_history_has_the_keyword_in_upper_case_and_triggers_are_as_written() {
    let (file, _) = parse("from a\ncopy  x \\\n  y\nonbuild  run z\n");
    let texts: Vec<_> =
        file.stages[0].instructions.iter().map(|instruction| instruction.text.as_str()).collect();
    assert_eq!(texts, ["COPY  x   y", "ONBUILD  run z"]);
    let Kind::OnBuild(inner) = &file.stages[0].instructions[1].kind else { panic!("no ONBUILD") };
    assert_eq!(inner.text, "run z");
}

#[test]
fn triggers_are_parsed_alone() {
    let (trigger, diagnostics) = parse_trigger("RUN <<E\nx\nE");
    assert!(diagnostics.is_empty());
    assert_eq!(trigger.unwrap().source(), "RUN <<E\nx\nE");
    for bad in ["FROM a", "ONBUILD RUN x", "RUN a\nRUN b", "", "RNU x", "MAINTAINER m"] {
        let (trigger, diagnostics) = parse_trigger(bad);
        assert!(trigger.is_none() && diagnostics.iter().any(|finding| finding.is_error()), "{bad}");
    }
}
