//! Targets and tags of both tables of the specification, section 4, and of a family unlike it.

use anyarch_plan::{Plan, publish, read, tags, target};

const FAMILY: &str = include_str!("family.toml");
const OTHER: &str = include_str!("other.toml");

fn plan(text: &str) -> Plan {
    read(text).expect("the plan is sound")
}

fn names(names: &str) -> Vec<String> {
    names.split_whitespace().map(str::to_owned).collect()
}

/// "cpu/amd64 → exact | gathered" for each selected tier.
fn built(plan: &Plan, wanted: &str, arch: Option<&str>) -> String {
    match target::select(plan, &names(wanted), arch) {
        Ok(selected) => selected
            .iter()
            .map(|selection| {
                let local = tags::local(plan, selection);
                let (exact, gathered) = (local.exact.join(" "), local.gathered.join(" "));
                format!("{}: {exact} | {gathered}", selection.canonical(plan))
            })
            .collect::<Vec<_>>()
            .join("\n"),
        Err(error) => failure(&error),
    }
}

fn failure(error: &target::TargetError) -> String {
    format!("error: {error}\nhint: {}", error.hint().unwrap_or_default())
}

/// "cpu/amd64: tags" for each image, "[members]: tags" for each index.
fn published(plan: &Plan, wanted: &str, version: Option<&str>, arch: Option<&str>) -> String {
    let listed = |tags: &[anyarch_oci::Tag]| {
        tags.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    match publish::select(plan, &names(wanted), version, arch) {
        Ok(published) => {
            let images = published.images.iter().map(|image| {
                format!("{}: {}", image.selection.canonical(plan), listed(&image.tags))
            });
            let indexes = published.indexes.iter().map(|index| {
                let members: Vec<String> =
                    index.members.iter().map(|at| plan.members[*at].to_string()).collect();
                format!("[{}]: {}", members.join(" "), listed(&index.tags))
            });
            images.chain(indexes).collect::<Vec<_>>().join("\n")
        }
        Err(error) => failure(&error),
    }
}

#[test]
fn cpu_is_amd64_by_default_and_has_three_names() {
    let plan = plan(FAMILY);
    let expected = "cpu/amd64: cpu-amd64-dev amd64-dev | cpu-dev";
    for wanted in ["cpu", "amd64", "cpu-amd64", "cpu/amd64", "cpu-app", "cpu:app"] {
        assert_eq!(built(&plan, wanted, None), expected, "{wanted}");
    }
    assert_eq!(built(&plan, "cpu", Some("amd64")), expected);
}

#[test]
fn arm64_has_three_names() {
    let plan = plan(FAMILY);
    let expected = "cpu/arm64: cpu-arm64-dev arm64-dev | cpu-dev";
    for wanted in ["arm64", "cpu-arm64", "cpu/arm64", "cpu/linux/arm64"] {
        assert_eq!(built(&plan, wanted, None), expected, "{wanted}");
    }
    for arch in ["arm64", "linux/arm64", "aarch64"] {
        assert_eq!(built(&plan, "cpu", Some(arch)), expected, "{arch}");
    }
}

#[test]
fn cuda_takes_no_architecture_alone() {
    let plan = plan(FAMILY);
    for wanted in ["cuda", "cuda-amd64", "cuda/amd64"] {
        assert_eq!(built(&plan, wanted, None), "cuda/amd64: cuda-amd64-dev | cuda-dev", "{wanted}");
    }
}

#[test]
fn tiers_of_cpu() {
    let plan = plan(FAMILY);
    for tier in ["base", "ml"] {
        for arch in ["amd64", "arm64"] {
            let expected =
                format!("cpu/{arch}:{tier}: cpu-{arch}-{tier} {arch}-{tier} | cpu-{tier}");
            assert_eq!(built(&plan, &format!("cpu-{tier}"), Some(arch)), expected);
            assert_eq!(built(&plan, &format!("cpu:{tier}"), Some(arch)), expected);
            assert_eq!(built(&plan, &format!("{arch}-{tier}"), None), expected);
            assert_eq!(built(&plan, &format!("cpu-{arch}-{tier}"), None), expected);
        }
        let default = format!("cpu/amd64:{tier}: cpu-amd64-{tier} amd64-{tier} | cpu-{tier}");
        assert_eq!(built(&plan, &format!("cpu-{tier}"), None), default);
    }
}

#[test]
fn tiers_of_cuda() {
    let plan = plan(FAMILY);
    for tier in ["base", "ml"] {
        let expected = format!("cuda/amd64:{tier}: cuda-amd64-{tier} | cuda-{tier}");
        assert_eq!(built(&plan, &format!("cuda-{tier}"), None), expected);
    }
}

#[test]
fn all_is_every_member_and_the_default() {
    let plan = plan(FAMILY);
    insta::assert_snapshot!(built(&plan, "all", None), @r"
cpu/amd64: cpu-amd64-dev amd64-dev | cpu-dev
cpu/arm64: cpu-arm64-dev arm64-dev | cpu-dev
cuda/amd64: cuda-amd64-dev | cuda-dev
");
    assert_eq!(built(&plan, "", None), built(&plan, "all", None));
    assert_eq!(built(&plan, "cuda arm64 amd64 cpu", None), built(&plan, "all", None));
}

#[test]
fn patterns_mean_all_architectures() {
    let plan = plan(FAMILY);
    insta::assert_snapshot!(built(&plan, "*/arm64", None), @"cpu/arm64: cpu-arm64-dev arm64-dev | cpu-dev");
    insta::assert_snapshot!(built(&plan, "*:base", None), @r"
cpu/amd64:base: cpu-amd64-base amd64-base | cpu-base
cpu/arm64:base: cpu-arm64-base arm64-base | cpu-base
cuda/amd64:base: cuda-amd64-base | cuda-base
");
    insta::assert_snapshot!(built(&plan, "c?da:*", None), @r"
cuda/amd64:base: cuda-amd64-base | cuda-base
cuda/amd64:ml: cuda-amd64-ml | cuda-ml
cuda/amd64: cuda-amd64-dev | cuda-dev
");
    insta::assert_snapshot!(built(&plan, "*:base", Some("arm64")), @"cpu/arm64:base: cpu-arm64-base arm64-base | cpu-base");
}

#[test]
fn refused_targets_say_what_would_be_right() {
    let plan = plan(FAMILY);
    insta::assert_snapshot!(built(&plan, "cuda", Some("arm64")), @r#"
error: `cuda` has no image for `arm64`: the plan lists only `linux/amd64`
hint: to build it, make line 24 of the plan `platforms = ["linux/amd64", "linux/arm64"]`
"#);
    insta::assert_snapshot!(built(&plan, "cuda/arm64", None), @r#"
error: `cuda` has no image for `arm64`: the plan lists only `linux/amd64`
hint: to build it, make line 24 of the plan `platforms = ["linux/amd64", "linux/arm64"]`
"#);
    insta::assert_snapshot!(built(&plan, "cuda", Some("vax")), @r"
error: `cuda` has no image for `vax`: the plan lists only `linux/amd64`
hint: platforms of [flavor.cuda] are at line 24 of the plan
");
    insta::assert_snapshot!(built(&plan, "cpu-arm64", Some("amd64")), @r"
error: target `cpu-arm64` is for `arm64`, but the architecture `amd64` is asked for
hint: leave the architecture out, or name the flavor alone
");
    insta::assert_snapshot!(built(&plan, "cpu-arn64", None), @r"
error: unknown target `cpu-arn64`
hint: did you mean `cpu-arm64`? targets of this plan: cpu, amd64, cpu-amd64, arm64, cpu-arm64, cuda, cuda-amd64, latest-cpu, latest, all; and tiers of them, such as cpu-base
");
    insta::assert_snapshot!(built(&plan, "tpu:base", None), @r"
error: unknown target `tpu:base`
hint: did you mean `cpu-base`? targets of this plan: cpu, amd64, cpu-amd64, arm64, cpu-arm64, cuda, cuda-amd64, latest-cpu, latest, all; and tiers of them, such as cpu-base
");
    insta::assert_snapshot!(built(&plan, "cpu:bass", None), @r"
error: target `cpu:bass` names the tier `bass`, which flavor `cpu` does not have
hint: its tiers are `base`, `ml` and `app`
");
    insta::assert_snapshot!(built(&plan, "*/riscv64", None), @r"
error: no member matches `*/riscv64`
hint: members of this plan: cpu/amd64, cpu/arm64, cuda/amd64
");
    insta::assert_snapshot!(built(&plan, "all", Some("riscv64")), @r"
error: no member matches `all` on `riscv64`
hint: members of this plan: cpu/amd64, cpu/arm64, cuda/amd64
");
}

#[test]
fn publish_one_member() {
    let plan = plan(FAMILY);
    for arch in ["amd64", "arm64"] {
        let expected = format!("cpu/{arch}: latest-cpu-{arch} v1.0.0-cpu-{arch}");
        for wanted in [format!("publish-{arch}"), arch.to_owned(), format!("cpu-{arch}")] {
            assert_eq!(published(&plan, &wanted, Some("v1.0.0"), None), expected);
        }
        assert_eq!(published(&plan, "publish-cpu", Some("v1.0.0"), Some(arch)), expected);
        let unversioned = format!("cpu/{arch}: latest-cpu-{arch}");
        assert_eq!(published(&plan, arch, None, None), unversioned);
    }
}

#[test]
fn publish_cuda() {
    let plan = plan(FAMILY);
    let expected = "cuda/amd64: cuda-amd64 v1.0.0-cuda-amd64 cuda-latest";
    assert_eq!(published(&plan, "publish-cuda", Some("v1.0.0"), None), expected);
    assert_eq!(published(&plan, "cuda", None, None), "cuda/amd64: cuda-amd64 cuda-latest");
}

#[test]
fn publish_cpu_makes_its_index() {
    let plan = plan(FAMILY);
    insta::assert_snapshot!(published(&plan, "publish-cpu", Some("v1.0.0"), None), @r"
cpu/amd64: latest-cpu-amd64 v1.0.0-cpu-amd64
cpu/arm64: latest-cpu-arm64 v1.0.0-cpu-arm64
[cpu/amd64 cpu/arm64]: latest-cpu v1.0.0-cpu
");
    insta::assert_snapshot!(published(&plan, "cpu", None, None), @r"
cpu/amd64: latest-cpu-amd64
cpu/arm64: latest-cpu-arm64
[cpu/amd64 cpu/arm64]: latest-cpu
");
    let both = published(&plan, "amd64 arm64", None, None);
    assert_eq!(published(&plan, "latest-cpu", None, None), both);
}

#[test]
fn publish_makes_every_index_cpu_first() {
    let plan = plan(FAMILY);
    insta::assert_snapshot!(published(&plan, "", Some("v1.0.0"), None), @r"
cpu/amd64: latest-cpu-amd64 v1.0.0-cpu-amd64
cpu/arm64: latest-cpu-arm64 v1.0.0-cpu-arm64
cuda/amd64: cuda-amd64 v1.0.0-cuda-amd64 cuda-latest
[cpu/amd64 cpu/arm64]: latest-cpu v1.0.0-cpu
[cpu/amd64 cpu/arm64 cuda/amd64]: latest v1.0.0
");
    for wanted in ["publish", "all", "publish-all", "publish-latest"] {
        let everything = published(&plan, "", Some("v1.0.0"), None);
        assert_eq!(published(&plan, wanted, Some("v1.0.0"), None), everything, "{wanted}");
    }
}

#[test]
fn publish_tiers_need_a_version() {
    let plan = plan(FAMILY);
    let of = |wanted| published(&plan, wanted, Some("v1.0.0"), None);
    assert_eq!(of("publish-base-amd64"), "cpu/amd64:base: cpu-base-amd64-v1.0.0");
    assert_eq!(of("publish-base-arm64"), "cpu/arm64:base: cpu-base-arm64-v1.0.0");
    assert_eq!(of("publish-base-cuda"), "cuda/amd64:base: cuda-base-v1.0.0");
    assert_eq!(of("base-cpu"), of("cpu-base"));
    assert_eq!(of("publish-base").lines().count(), 3);
    insta::assert_snapshot!(published(&plan, "publish-base-cuda", None, None), @r"
error: cannot publish `cuda/amd64:base` without a version: every tag of this tier carries one
hint: give one with `--version`, or set `version` in [project] of the plan
");
    insta::assert_snapshot!(published(&plan, "publish-bas-cuda", Some("v1"), None), @r"
error: unknown target `bas-cuda`
hint: did you mean `base-cuda`? targets of this plan: cpu, amd64, cpu-amd64, arm64, cpu-arm64, cuda, cuda-amd64, latest-cpu, latest, all; and tiers of them, such as cpu-base
");
}

#[test]
fn versioned_tags_are_told_apart() {
    let plan = plan(FAMILY);
    let published = publish::select(&plan, &[], Some("v1.0.0"), None).expect("selects");
    let versioned = |tags: &[anyarch_oci::Tag]| {
        tags.iter().map(ToString::to_string).filter(|t| t.contains("v1.0.0")).collect::<Vec<_>>()
    };
    for image in &published.images {
        let told: Vec<String> = image.version_tags.iter().map(ToString::to_string).collect();
        assert_eq!(told, versioned(&image.tags));
        assert_eq!(told.len(), 1);
    }
    for index in &published.indexes {
        let told: Vec<String> = index.version_tags.iter().map(ToString::to_string).collect();
        assert_eq!(told, versioned(&index.tags));
        assert_eq!(told.len(), 1);
    }
}

#[test]
fn a_version_that_fits_no_tag_is_refused() {
    let plan = plan(FAMILY);
    insta::assert_snapshot!(published(&plan, "cuda", Some("1 0"), None), @r"
error: cannot name `cuda/amd64`
hint: a tag, and so a version, holds letters, digits, `_`, `.` and `-` only
");
}

#[test]
fn another_family_follows_the_same_rules() {
    let plan = plan(OTHER);
    insta::assert_snapshot!(built(&plan, "all", None), @r"
web/riscv64: web-riscv64-dev riscv64-dev | web-dev
web/armv7: web-armv7-dev armv7-dev | web-dev
web/amd64: web-amd64-dev amd64-dev | web-dev
rocm/amd64: rocm-amd64-dev | rocm-dev
rocm/arm64: rocm-arm64-dev arm64-dev | rocm-dev
");
    insta::assert_snapshot!(built(&plan, "web", None), @"web/riscv64: web-riscv64-dev riscv64-dev | web-dev");
    insta::assert_snapshot!(built(&plan, "riscv64 armv7-deps rocm", Some("amd64")), @r"
error: target `riscv64` is for `riscv64`, but the architecture `amd64` is asked for
hint: leave the architecture out, or name the flavor alone
");
    insta::assert_snapshot!(built(&plan, "web-riscv64 armv7-deps rocm", None), @r"
web/riscv64: web-riscv64-dev riscv64-dev | web-dev
web/armv7:deps: web-armv7-deps armv7-deps | web-deps
rocm/amd64: rocm-amd64-dev | rocm-dev
");
    insta::assert_snapshot!(published(&plan, "", Some("2.1"), None), @r"
web/riscv64: latest-web-riscv64 2.1-web-riscv64
web/armv7: latest-web-armv7 2.1-web-armv7
web/amd64: latest-web-amd64 2.1-web-amd64
rocm/amd64: rocm-amd64 2.1-rocm-amd64
rocm/arm64: rocm-arm64 2.1-rocm-arm64
[rocm/amd64 rocm/arm64]: rocm-latest
[web/riscv64 web/armv7 web/amd64 rocm/amd64 rocm/arm64]: stable 2.1-stable
");
    insta::assert_snapshot!(published(&plan, "deps-rocm web:deps", Some("2.1"), None), @r"
web/riscv64:deps: web-deps-riscv64-2.1
web/armv7:deps: web-deps-armv7-2.1
web/amd64:deps: web-deps-amd64-2.1
rocm/amd64:deps: rocm-deps-amd64-2.1
rocm/arm64:deps: rocm-deps-arm64-2.1
");
}

#[test]
fn short_names_are_all_selectable_and_mean_what_they_list() {
    for text in [FAMILY, OTHER] {
        let plan = plan(text);
        for (name, selections) in target::short_names(&plan) {
            let selected = target::select(&plan, std::slice::from_ref(&name), None);
            assert_eq!(selected.expect("a short name"), selections, "{name}");
            assert!(publish::select(&plan, &[format!("publish-{name}")], Some("v1"), None).is_ok());
        }
    }
    let short = target::short_names(&plan(FAMILY));
    let listed: Vec<&str> = short.iter().map(|(name, _)| name.as_str()).collect();
    insta::assert_snapshot!(listed.join(" "), @"cpu amd64 cpu-amd64 arm64 cpu-arm64 cpu-base amd64-base cpu-amd64-base arm64-base cpu-arm64-base cpu-ml amd64-ml cpu-amd64-ml arm64-ml cpu-arm64-ml cpu-app amd64-app cpu-amd64-app arm64-app cpu-arm64-app cuda cuda-amd64 cuda-base cuda-amd64-base cuda-ml cuda-amd64-ml cuda-app cuda-amd64-app latest-cpu latest all");
}

#[test]
fn templates_replace_the_defaults() {
    let text = format!(
        "{FAMILY}\n[tags]\nlocal = [\"{{{{ arch }}}}.{{{{ flavor }}}}.{{{{ tier }}}}\"]\n\
         publish = [\"{{{{ name }}}}-{{{{ arch }}}}-{{{{ flavor }}}}-{{{{ registry }}}}\"]\n"
    );
    let plan = plan(&text);
    assert_eq!(built(&plan, "arm64", None), "cpu/arm64: arm64.cpu.app | cpu-dev");
    let expected = "cpu/arm64: mcp-ragex-arm64-cpu-ghcr.io";
    assert_eq!(published(&plan, "arm64", Some("v1"), None), expected);
}
