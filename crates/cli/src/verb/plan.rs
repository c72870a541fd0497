//! `anyarch plan`: shows what a plan comes to, without building anything.

use anyarch_dockerfile::{Dockerfile, Stage};
use anyarch_plan::{Base, Member, Plan, Selection, Tier, publish, tags, target};
use serde::Serialize;

use crate::args::TargetArgs;
use crate::failure::Failure;
use crate::files;
use crate::findings::Findings;
use crate::global::Global;
use crate::output;
use crate::text;
use crate::tree::Node;

/// Show the members, tiers, steps and tags of the plan
///
/// Nothing is built or downloaded.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    targets: TargetArgs,
    /// Give the plan as JSON
    #[arg(long)]
    json: bool,
}

/// The plan as `plan --json` gives it.
#[derive(Serialize)]
struct View {
    name: String,
    repository: Option<String>,
    bases: Vec<BaseView>,
    members: Vec<MemberView>,
    indexes: Vec<IndexView>,
}

#[derive(Serialize)]
struct BaseView {
    name: String,
    from: Option<String>,
    debian: Option<String>,
    packages: Vec<String>,
}

#[derive(Serialize)]
struct MemberView {
    member: String,
    platform: String,
    accelerator: Option<String>,
    smoke: Option<Vec<String>>,
    publish: Vec<String>,
    tiers: Vec<TierView>,
}

#[derive(Serialize)]
struct TierView {
    tier: String,
    dockerfile: String,
    context: String,
    target: Option<String>,
    tags: Vec<String>,
    gathered_tags: Vec<String>,
    stages: Vec<StageView>,
}

#[derive(Serialize)]
struct StageView {
    name: Option<String>,
    from: String,
    steps: Vec<StepView>,
}

#[derive(Serialize)]
struct StepView {
    line: usize,
    text: String,
}

#[derive(Serialize)]
struct IndexView {
    index: String,
    tags: Vec<String>,
    members: Vec<String>,
}

/// Carries it out.
pub(crate) fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let plan = files::load_plan(global)?;
    let selections = target::select(&plan, &args.targets.targets, args.targets.arch.as_deref())?;
    let view = View {
        name: plan.project.name.clone(),
        repository: plan.project.repository.clone(),
        bases: plan.bases.values().map(base_view).collect(),
        members: members(&plan, &selections, global)?,
        indexes: if args.targets.targets.is_empty() { indexes(&plan)? } else { Vec::new() },
    };
    if args.json { output::print_json(&view) } else { output::print(&tree(&view).render()) }
}

fn base_view(base: &Base) -> BaseView {
    let Base { name, from, debian, packages, .. } = base.clone();
    BaseView { name, from, debian, packages }
}

/// The selected tiers with those below them, by member in the order of the plan.
fn members(
    plan: &Plan,
    selections: &[Selection],
    global: &Global,
) -> Result<Vec<MemberView>, Failure> {
    let mut findings = Findings::default();
    let mut views = Vec::new();
    for (at, member) in plan.members.iter().enumerate() {
        let Some(last) =
            selections.iter().filter(|wanted| wanted.member == at).map(|wanted| wanted.tier).max()
        else {
            continue;
        };
        let mut tiers = Vec::new();
        for (number, tier) in member.tiers.iter().enumerate().take(last + 1) {
            let selection = Selection { member: at, tier: number };
            tiers.push(tier_view(plan, &selection, tier, global, &mut findings)?);
        }
        views.push(member_view(plan, at, member, last, tiers)?);
    }
    findings.settle()?;
    Ok(views)
}

fn member_view(
    plan: &Plan,
    at: usize,
    member: &Member,
    last: usize,
    tiers: Vec<TierView>,
) -> Result<MemberView, Failure> {
    let complete = last + 1 == member.tiers.len();
    let publish = if complete {
        let name = Selection { member: at, tier: last }.canonical(plan);
        let published = publish::select(plan, &[name], None, None)?;
        let images = published.images.iter().filter(|image| image.selection.member == at);
        images.flat_map(|image| image.tags.iter().map(ToString::to_string)).collect()
    } else {
        Vec::new()
    };
    Ok(MemberView {
        member: member.to_string(),
        platform: member.platform.to_string(),
        accelerator: member.accelerator.clone(),
        smoke: member.smoke.clone(),
        publish,
        tiers,
    })
}

fn tier_view(
    plan: &Plan,
    selection: &Selection,
    tier: &Tier,
    global: &Global,
    findings: &mut Findings,
) -> Result<TierView, Failure> {
    let source = files::read_dockerfile(global, tier)?;
    let (parsed, found) = anyarch_dockerfile::parse(&source.text);
    if !findings.has(&source.name) {
        findings.add(source, found.into_iter().map(Into::into).collect());
    }
    let tags = tags::local(plan, selection);
    Ok(TierView {
        tier: tier.name.clone(),
        dockerfile: tier.dockerfile.clone(),
        context: tier.context.clone().unwrap_or_else(|| plan.project.context.clone()),
        target: tier.target.clone(),
        tags: tags.exact,
        gathered_tags: tags.gathered,
        stages: stages(&parsed),
    })
}

fn stages(parsed: &Dockerfile) -> Vec<StageView> {
    let view = |stage: &Stage| StageView {
        name: stage.name.clone(),
        from: stage.base.clone(),
        steps: stage
            .instructions
            .iter()
            .map(|step| StepView { line: *step.span.lines.start(), text: step.text.clone() })
            .collect(),
    };
    parsed.stages.iter().map(view).collect()
}

fn indexes(plan: &Plan) -> Result<Vec<IndexView>, Failure> {
    let published = publish::select(plan, &[], None, None)?;
    let view = |index: &anyarch_plan::Index| {
        let tags = published
            .indexes
            .iter()
            .filter(|published| published.members == index.members)
            .flat_map(|published| published.tags.iter().map(ToString::to_string))
            .collect();
        let members = index
            .members
            .iter()
            .filter_map(|member| plan.members.get(*member))
            .map(ToString::to_string)
            .collect();
        IndexView { index: index.name.clone(), tags, members }
    };
    Ok(plan.indexes.iter().map(view).collect())
}

fn tree(view: &View) -> Node {
    let mut root = Node::new(match &view.repository {
        Some(repository) => format!("{} (published to {repository})", view.name),
        None => view.name.clone(),
    });
    for base in &view.bases {
        let from = match (&base.from, &base.debian) {
            (Some(from), _) => format!("base {from}"),
            (None, Some(suite)) => format!("Debian {suite}"),
            (None, None) => "nothing".to_owned(),
        };
        let packages = base.packages.join(", ");
        root.push(Node::new(format!("base {}: {from} with {packages}", base.name)));
    }
    for member in &view.members {
        root.push(member_node(member, &view.name));
    }
    for index in &view.indexes {
        let members = text::listing(&index.members);
        root.push(Node::new(format!("index {}: {members}", index.tags.join(", "))));
    }
    root
}

fn member_node(member: &MemberView, name: &str) -> Node {
    let accelerator =
        member.accelerator.as_ref().map(|device| format!(", {device}")).unwrap_or_default();
    let mut node = Node::new(format!("{} ({}{accelerator})", member.member, member.platform));
    for tier in &member.tiers {
        let tags: Vec<&str> =
            tier.tags.iter().chain(&tier.gathered_tags).map(String::as_str).collect();
        let target = tier.target.as_ref().map(|stage| format!(" --target {stage}"));
        let mut child =
            Node::new(format!("{}: {}{}", tier.tier, tier.dockerfile, target.unwrap_or_default()));
        child.push(Node::new(format!("tags {name}:{{{}}}", tags.join(","))));
        for stage in &tier.stages {
            let stage_name =
                stage.name.as_ref().map(|name| format!(" AS {name}")).unwrap_or_default();
            child.push(Node::new(format!("FROM {}{stage_name}", stage.from)));
            for step in &stage.steps {
                let line = step.text.split_whitespace().collect::<Vec<_>>().join(" ");
                child.push(Node::new(console::truncate_str(&line, 88, "…")));
            }
        }
        node.push(child);
    }
    if let Some(smoke) = &member.smoke {
        node.push(Node::new(format!("smoke: {}", smoke.join(" "))));
    }
    if !member.publish.is_empty() {
        node.push(Node::new(format!("published as {}", member.publish.join(", "))));
    }
    node
}
