use std::collections::BTreeMap;

use anyarch_oci::{ImageConfig, Platform};

use super::*;
use crate::op::Op;

/// Lowers a Dockerfile for linux/arm64 on linux/amd64; `python` is the one name known outside.
fn try_lower(
    text: &str,
    args: &[(&str, &str)],
    target: Option<&str>,
) -> Result<(BuildGraph, Lowered), BuildError> {
    let (dockerfile, diagnostics) = anyarch_dockerfile::parse(text);
    assert!(diagnostics.iter().all(|diagnostic| !diagnostic.is_error()), "{diagnostics:?}");
    let build_args: BTreeMap<String, String> =
        args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (platform, build_platform) =
        (Platform::new("linux", "arm64"), Platform::new("linux", "amd64"));
    let input = Input {
        file: "Dockerfile",
        dockerfile: &dockerfile,
        build_args: &build_args,
        target,
        platform: &platform,
        build_platform: &build_platform,
        context: 0,
        named: &BTreeMap::new(),
        fresh: &Fresh::default(),
        part: "test",
    };
    let python = |name: &str, platform: &Platform| {
        (name == "python").then(|| {
            let mut config = ImageConfig::new(platform);
            config.config.set_env("FROM_BASE", "yes");
            config.config.cmd = Some(vec!["bash".to_owned()]);
            Lowered { step: None, config, history: Vec::new() }
        })
    };
    let mut graph = BuildGraph::default();
    let lowered = super::lower(&mut graph, &input, &python)?;
    Ok((graph, lowered))
}

fn lowered(text: &str) -> (BuildGraph, Lowered) {
    try_lower(text, &[], None).unwrap()
}

/// The steps, one a line, as their JSON.
fn steps(graph: &BuildGraph) -> Vec<serde_json::Value> {
    graph.steps().iter().map(|step| serde_json::to_value(&step.op).unwrap()).collect()
}

fn env_of(graph: &BuildGraph, step: usize) -> BTreeMap<String, String> {
    match &graph.steps()[step].op {
        Op::Exec(op) => op.env.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn run_sees_env_and_the_arguments_declared_before_it() {
    let (graph, _) =
        lowered("FROM python\nENV A=1\nARG B=b$A\nRUN one\nARG LATER=x\nENV B=env\nRUN two\n");
    let (one, two) = (env_of(&graph, 0), env_of(&graph, 1));
    assert_eq!(
        (one["A"].as_str(), one["B"].as_str(), one["FROM_BASE"].as_str()),
        ("1", "b1", "yes")
    );
    assert!(!one.contains_key("LATER"));
    assert_eq!((two["B"].as_str(), two["LATER"].as_str()), ("env", "x"), "ENV goes before ARG");
}

#[test]
fn arguments_before_from_reach_stages_only_when_declared_again() {
    let text = "ARG V=1\nARG BASE=python\nFROM $BASE\nRUN one\nARG V\nRUN two\n";
    let (graph, _) = lowered(text);
    assert!(!env_of(&graph, 0).contains_key("V"));
    assert_eq!(env_of(&graph, 1)["V"], "1");
    let (graph, _) = try_lower(text, &[("V", "2")], None).unwrap();
    assert_eq!(env_of(&graph, 1)["V"], "2");
}

#[test]
fn platform_arguments_are_set_for_every_build() {
    let (graph, _) =
        lowered("FROM python\nARG TARGETARCH\nARG BUILDPLATFORM\nARG TARGETVARIANT\nRUN x\n");
    let env = env_of(&graph, 0);
    assert_eq!(
        (env["TARGETARCH"].as_str(), env["BUILDPLATFORM"].as_str()),
        ("arm64", "linux/amd64")
    );
    assert_eq!(env["TARGETVARIANT"], "");
}

#[test]
fn from_platform_chooses_the_machine_of_a_stage() {
    let (graph, _) = lowered(
        "FROM --platform=$BUILDPLATFORM python AS tool\nRUN make\nFROM python\nCOPY --from=tool /x /x\n",
    );
    let platforms: Vec<String> =
        graph.steps().iter().map(|step| step.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
}

#[test]
fn only_needed_stages_become_steps_and_equal_ones_are_one() {
    let text = "FROM python AS a\nRUN shared\nFROM python AS b\nRUN shared\nRUN only b\nFROM python AS unused\nRUN never\nFROM a\nCOPY --from=b /x /x\n";
    let (graph, _) = lowered(text);
    let names: Vec<&str> = graph.steps().iter().map(|step| step.info.name.as_str()).collect();
    assert_eq!(names, ["RUN shared", "RUN only b", "COPY --from=b /x /x"]);
    let (graph, _) = try_lower(text, &[], Some("unused")).unwrap();
    assert_eq!(graph.steps().len(), 1);
    let error = try_lower(text, &[], Some("nope")).unwrap_err();
    assert!(error.hint.unwrap().contains("a, b, unused"));
}

#[test]
fn shell_and_exec_forms_and_heredocs_become_argument_vectors() {
    let (graph, _) = lowered(
        "FROM python\nRUN echo $HOME\nRUN [\"echo\", \"$HOME\"]\nSHELL [\"/bin/bash\", \"-ec\"]\nRUN x\nRUN <<EOF\na\nb\nEOF\n",
    );
    let argv: Vec<serde_json::Value> = steps(&graph).iter().map(|op| op["argv"].clone()).collect();
    assert_eq!(argv[0], serde_json::json!(["/bin/sh", "-c", "echo $HOME"]));
    assert_eq!(argv[1], serde_json::json!(["echo", "$HOME"]));
    assert_eq!(argv[2], serde_json::json!(["/bin/bash", "-ec", "x"]));
    assert_eq!(argv[3], serde_json::json!(["/bin/bash", "-ec", "a\nb\n"]));
}

#[test]
fn workdir_is_relative_to_the_one_before_and_becomes_a_directory() {
    let (graph, tree) =
        lowered("FROM python\nWORKDIR /a\nWORKDIR b/../c\nRUN x\nCOPY f .\nCOPY g h/\nCOPY i /j\n");
    let steps = steps(&graph);
    assert_eq!(steps[1]["path"], "/a/c");
    assert_eq!(steps[2]["cwd"], "/a/c");
    let destinations: Vec<&str> =
        steps[3..].iter().map(|op| op["destination"].as_str().unwrap()).collect();
    assert_eq!(destinations, ["/a/c/", "/a/c/h/", "/j"]);
    assert_eq!(tree.config.config.working_dir, "/a/c");
}

#[test]
fn workdir_is_made_for_the_user() {
    let (graph, _) = lowered("FROM python\nWORKDIR /a\nUSER app:staff\nWORKDIR /b\n");
    let steps = steps(&graph);
    assert_eq!((&steps[0]["user"], &steps[1]["user"]), (&"".into(), &"app:staff".into()));
}

#[test]
fn a_stage_inherits_the_arguments_of_the_stage_it_is_built_on() {
    let text = "FROM python AS a\nARG V=1\nARG W=1\nFROM a\nARG V\nARG W=2\nRUN one\n\
                FROM python\nCOPY --from=1 /x /x\nRUN two\n";
    let (graph, _) = lowered(text);
    let env = env_of(&graph, 0);
    assert_eq!((env["V"].as_str(), env["W"].as_str()), ("1", "2"));
    assert!(!env_of(&graph, 2).contains_key("V"));
}

#[test]
fn a_source_word_is_one_path_and_not_empty() {
    let (graph, _) =
        lowered("FROM python\nARG F=\"a b\"\nCOPY [\"my file\", \"/x/\"]\nCOPY $F /y/\n");
    let steps = steps(&graph);
    assert_eq!(steps[0]["sources"], serde_json::json!(["my file"]));
    assert_eq!(steps[1]["sources"], serde_json::json!(["a b"]));
    let error = try_lower("FROM python\nCOPY $NONE /x/\n", &[], None).unwrap_err();
    assert!(error.message.contains("`$NONE` is empty"), "{error}");
}

#[test]
fn the_image_is_for_the_platform_asked_for() {
    for base in ["scratch", "python"] {
        let (_, tree) = lowered(&format!("FROM --platform=linux/amd64 {base}\nLABEL a=b\n"));
        assert_eq!(tree.config.architecture, "arm64", "{base}");
    }
}

#[test]
fn copies_from_an_image_take_the_target_platform_in_every_stage() {
    lowered("FROM --platform=$BUILDPLATFORM scratch\nCOPY --from=python /x /x\n");
}

#[test]
fn configuration_instructions_leave_the_tree_alone() {
    let (graph, tree) = lowered(concat!(
        "FROM python\n",
        "ENV A=1 B=\"two words\"\n",
        "LABEL x=$A\n",
        "EXPOSE 80 53/udp 8000-8001\n",
        "VOLUME /data\n",
        "USER ann:staff\n",
        "STOPSIGNAL SIGINT\n",
        "HEALTHCHECK --interval=5s --retries=2 CMD curl localhost\n",
        "ENTRYPOINT [\"app\"]\n",
    ));
    assert!(graph.steps().is_empty());
    let config = &tree.config.config;
    assert_eq!(config.env("B"), Some("two words"));
    assert_eq!(config.labels["x"], "1");
    let ports: Vec<&str> = config.exposed_ports.keys().map(String::as_str).collect();
    assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
    assert!(config.volumes.contains_key("/data"));
    assert_eq!(
        (config.user.as_str(), config.stop_signal.as_deref()),
        ("ann:staff", Some("SIGINT"))
    );
    let check = config.healthcheck.as_ref().unwrap();
    assert_eq!((check.interval, check.retries), (Some(5_000_000_000), Some(2)));
    assert_eq!(check.test, ["CMD-SHELL", "curl localhost"]);
    assert_eq!(config.cmd, None, "ENTRYPOINT takes the inherited CMD away");
    assert_eq!(tree.history.len(), 8);
}

#[test]
fn cmd_of_the_same_stage_survives_entrypoint() {
    let (_, tree) = lowered("FROM python\nCMD [\"serve\"]\nENTRYPOINT [\"app\"]\n");
    assert_eq!(tree.config.config.cmd, Some(vec!["serve".to_owned()]));
}

#[test]
fn scratch_has_a_path_and_no_steps() {
    let (graph, tree) = lowered("FROM scratch\nENTRYPOINT [\"/app\"]\n");
    assert!(graph.steps().is_empty() && tree.step.is_none());
    assert_eq!(tree.config.config.env("PATH"), Some(DEFAULT_PATH));
}

#[test]
fn copied_heredocs_are_expanded_unless_quoted() {
    let (graph, _) = lowered("FROM python\nENV A=1\nCOPY <<one <<\"two\" /d/\n$A\none\n$A\ntwo\n");
    assert_eq!(steps(&graph)[0]["inline"], serde_json::json!([["one", "1\n"], ["two", "$A\n"]]));
}

#[test]
fn what_is_not_run_is_refused_with_its_line() {
    for (instruction, named) in [
        ("RUN --security=insecure x", "RUN --security=insecure"),
        ("RUN --device=vendor/class x", "RUN --device"),
        ("ADD --keep-git-dir=true a /x", "--keep-git-dir is for git repositories"),
        ("ADD --checksum=0123 https://git.example/y.git#v1 /x", "--checksum is not a commit"),
        ("ADD --checksum=0123456 https://git.example/y.git a /x", "needs exactly one source"),
        ("ADD --checksum=md5:1 http://mirror.example/x /x", "--checksum is not a digest"),
        ("ADD --checksum=sha256:0123 a /x", "needs exactly one source, a URL"),
    ] {
        let error = try_lower(&format!("FROM python\n{instruction}\n"), &[], None).unwrap_err();
        assert!(error.message.contains(named), "{instruction}: {error}");
        assert_eq!(error.origin.unwrap().line, 2);
        assert_eq!(error.kind, crate::error::ErrorKind::Input);
    }
}

#[test]
fn names_that_mean_nothing_are_refused_with_their_line() {
    for text in
        ["FROM $UNSET\n", "FROM python\nCOPY --from=nowhere /a /a\n", "FROM python\nEXPOSE 99999\n"]
    {
        let error = try_lower(text, &[], None).unwrap_err();
        assert_eq!(error.origin.unwrap().line, text.lines().count(), "{text}");
        assert!(error.hint.is_some(), "{text}");
    }
}

#[test]
fn outside_names_are_those_of_needed_stages() {
    let text = "FROM unused.example/x AS unused\nFROM python AS a\nFROM a\nCOPY --from=reg.example/tool:1 /x /x\nCOPY --from=a /y /y\nCOPY --from=TOOL z /z\n";
    let (dockerfile, _) = anyarch_dockerfile::parse(text);
    let platform = Platform::new("linux", "amd64");
    let input = Input {
        file: "Dockerfile",
        dockerfile: &dockerfile,
        build_args: &BTreeMap::new(),
        target: None,
        platform: &platform,
        build_platform: &platform,
        context: 0,
        named: &BTreeMap::from([("tool".to_owned(), Named::Folder(1))]),
        fresh: &Fresh::default(),
        part: "test",
    };
    let names: Vec<(String, usize)> = outside_names(&input)
        .unwrap()
        .into_iter()
        .map(|name| (name.name, name.origin.line))
        .collect();
    assert_eq!(names, [("python".to_owned(), 2), ("reg.example/tool:1".to_owned(), 4)]);
}

#[test]
fn mounts_have_the_defaults_of_the_reference() {
    let (graph, _) = lowered(
        "FROM python\nWORKDIR /w\nRUN --mount=target=in --mount=type=cache,target=c \\\n  --mount=type=secret,id=s --mount=type=ssh --mount=type=tmpfs,target=/t x\n",
    );
    let mounts = steps(&graph).last().unwrap()["mounts"].clone();
    assert_eq!(
        mounts,
        serde_json::json!([
            {"type": "bind", "source": "/", "target": "/w/in", "writable": false},
            {"type": "cache", "id": "/w/c", "target": "/w/c", "sharing": "shared", "writable": true,
             "mode": 0o755, "owner": [0, 0]},
            {"type": "secret", "id": "s", "target": "/run/secrets/s", "variable": null,
             "required": false, "mode": 0o400, "owner": [0, 0]},
            {"type": "ssh", "id": "default", "target": null, "required": false, "mode": 0o600,
             "owner": [0, 0]},
            {"type": "tmpfs", "target": "/t", "size": null},
        ])
    );
}

#[test]
fn triggers_are_applied_before_the_stage_and_taken_out() {
    let (graph, tree) = lowered(
        "FROM python AS parent\nONBUILD ENV A=1\nONBUILD RUN first\nFROM parent\nRUN second\n",
    );
    assert_eq!(tree.config.config.env("A"), Some("1"));
    assert!(tree.config.config.on_build.is_empty());
    let argv: Vec<_> = steps(&graph).iter().map(|step| step["argv"][2].clone()).collect();
    assert_eq!(argv, ["first", "second"]);
}

#[test]
fn an_argument_declared_after_env_is_what_the_stage_sees() {
    let (graph, tree) = lowered(
        "FROM python\nENV A=env\nARG A=arg\nARG FROM_BASE=arg\nRUN one\nENV A=new\nRUN two\n",
    );
    let (one, two) = (env_of(&graph, 0), env_of(&graph, 1));
    assert_eq!((one["A"].as_str(), one["FROM_BASE"].as_str()), ("arg", "arg"));
    assert_eq!(two["A"], "new");
    assert_eq!(tree.config.config.env("FROM_BASE"), Some("yes"), "the image keeps its own");
}

#[test]
fn proxies_need_no_declaration_and_are_no_part_of_the_step() {
    let (graph, _) =
        try_lower("FROM python\nRUN x\n", &[("HTTP_PROXY", "p"), ("X", "1")], None).unwrap();
    let Op::Exec(op) = &graph.steps()[0].op else { panic!("{:?}", graph.steps()) };
    let names: Vec<&String> = op.proxies.keys().collect();
    assert_eq!(names, ["HTTP_PROXY", "http_proxy"]);
    assert!(!serde_json::to_string(&graph.steps()[0].op).unwrap().contains("PROXY"));
}

#[test]
fn triggers_are_recorded_as_written_and_without_history() {
    let (_, tree) = lowered("FROM python\nONBUILD run  one\n");
    assert_eq!(tree.config.config.on_build, ["run  one"]);
    assert!(tree.history.is_empty());
}

#[test]
fn a_stop_signal_is_a_signal() {
    for signal in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX"] {
        let (_, tree) = lowered(&format!("FROM python\nSTOPSIGNAL {signal}\n"));
        assert_eq!(tree.config.config.stop_signal.as_deref(), Some(signal));
    }
    for signal in ["SIGNOTHING", "0", "SIGRTMIN+99", "SIGRTMIN3"] {
        let error =
            try_lower(&format!("FROM python\nSTOPSIGNAL {signal}\n"), &[], None).unwrap_err();
        assert!(error.message.contains("is no signal"), "{error}");
    }
}

#[test]
fn only_a_slash_or_a_dot_alone_make_a_destination_a_directory() {
    let (graph, _) = lowered("FROM python\nWORKDIR /w\nCOPY f .\nCOPY f x/.\nCOPY f y/\n");
    let steps = steps(&graph);
    let destinations: Vec<&str> =
        steps[1..].iter().map(|op| op["destination"].as_str().unwrap()).collect();
    assert_eq!(destinations, ["/w/", "/w/x", "/w/y/"]);
}
