//! What a sound plan means.

use std::collections::BTreeMap;

use anyarch_plan::{Version, read};

#[test]
fn overrides_replace_and_add() {
    let text = r#"
[project]
name = "app"
version = "v2"
source-date-epoch = 7
[flavor.cpu]
platforms = ["linux/amd64", "linux/aarch64"]
tiers = [
  { name = "base", dockerfile = "B", build-args = { A = "1", B = "2" } },
  { name = "app", dockerfile = "A", target = "run", context = "src" },
]
smoke = ["a"]
[flavor.cpu.on."linux/arm64"]
smoke = ["b"]
tier.base = { dockerfile = "C", build-args = { B = "3", C = "" } }
tier.app.target = "slim"
"#;
    let plan = read(text).expect("the plan is sound");
    assert_eq!(plan.project.version, Version::Literal("v2".to_owned()));
    assert_eq!(plan.project.source_date_epoch, 7);
    assert_eq!(plan.project.context, ".");
    let [amd64, arm64] = &plan.members[..] else { panic!("two members") };
    assert_eq!((amd64.to_string(), arm64.to_string()), ("cpu/amd64".into(), "cpu/arm64".into()));
    let args = |tier: &anyarch_plan::Tier| tier.build_args.clone();
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    assert_eq!(amd64.tiers[0].dockerfile, "B");
    assert_eq!(args(&amd64.tiers[0]), map(&[("A", "1"), ("B", "2")]));
    assert_eq!(arm64.tiers[0].dockerfile, "C");
    assert_eq!(args(&arm64.tiers[0]), map(&[("A", "1"), ("B", "3"), ("C", "")]));
    assert_eq!(&text[arm64.tiers[0].dockerfile_span.clone()], "\"C\"");
    assert_eq!(arm64.tiers[1].dockerfile, "A");
    assert_eq!(arm64.tiers[1].target.as_deref(), Some("slim"));
    assert_eq!(amd64.tiers[1].target.as_deref(), Some("run"));
    assert_eq!(arm64.tiers[1].context.as_deref(), Some("src"));
    assert_eq!(amd64.smoke, Some(vec!["a".to_owned()]));
    assert_eq!(arm64.smoke, Some(vec!["b".to_owned()]));
    assert_eq!(plan.line(arm64.span.start), 7);
}

const CPU: &str = "[project]\nname = \"app\"\n[flavor.cpu]\nplatforms = [\"linux/arm/v7\"]\n\
                   tiers = [{ name = \"app\", dockerfile = \"A\" }]\n";

#[test]
fn bases_on_bases() {
    let bases = "[base.ml]\nfrom = \"python\"\npackages = [\"git\"]\nrecommends = true\n\
                 [base.python]\ndebian = \"bookworm\"\n";
    let plan = read(&format!("{CPU}{bases}")).expect("the plan is sound");
    let chain: Vec<&str> = plan.base_chain("ml").iter().map(|base| base.name.as_str()).collect();
    assert_eq!(chain, ["python", "ml"]);
    assert_eq!(plan.base_suite("ml"), Some("bookworm"));
    assert_eq!(plan.base_suite("other"), None);
    assert!(plan.bases["ml"].recommends && !plan.bases["python"].recommends);
    assert_eq!(plan.bases["ml"].package_spans.len(), 1);
}

#[test]
fn sources_in_three_forms() {
    let uri = "http://mirror.example/debian";
    let of = |value: &str| {
        let plan = read(&format!("{CPU}[sources]\ndebian = {value}\n")).expect("the plan is sound");
        plan.sources.debian
    };
    assert_eq!(of(&format!("\"{uri}/\""))[0].uri, uri);
    let table = of(&format!(
        "{{ uri = \"{uri}\", suites = [\"sid\"], components = [\"main\"], signed-by = \"k.asc\", security = \"http://mirror.example/s\" }}"
    ));
    assert_eq!(table[0].suites, ["sid"]);
    assert_eq!(table[0].components, ["main"]);
    assert_eq!(table[0].signed_by.as_deref(), Some("k.asc"));
    assert_eq!(table[0].security.as_deref(), Some("http://mirror.example/s"));
    let list = of(&format!("[\"file:///srv/debian\", {{ uri = \"{uri}\" }}]"));
    assert_eq!(
        list.iter().map(|s| s.uri.as_str()).collect::<Vec<_>>(),
        ["file:///srv/debian", uri]
    );
    assert!(read(CPU).expect("the plan is sound").sources.debian.is_empty());
}

#[test]
fn a_refused_file_is_never_a_plan() {
    let (file, found) = anyarch_plan::parse(&format!("{CPU}[base.x]\ndebian = 12\n"));
    assert_eq!(found.len(), 1);
    assert_eq!(anyarch_plan::check(&file).expect_err("refused"), []);
}

#[test]
fn the_plan_of_the_example_is_sound() {
    let plan = read(include_str!("../../../examples/mcp-ragex/anyarch.toml")).expect("sound");
    let members: Vec<String> = plan.members.iter().map(ToString::to_string).collect();
    assert_eq!(members, ["cpu/amd64", "cpu/arm64", "cuda/amd64"]);
    assert_eq!(plan.warnings, []);
}
