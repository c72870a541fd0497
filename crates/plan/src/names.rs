//! Plan → the short names of its targets, by rule, and what each stands for.
//!
//! Rules, for flavor F, architecture A, tier T: `F`, `F-A`, `F-T`, `F-A-T`; `A`, `A-T` for the plain
//! flavor of A; `all`; every index. Publishing adds `T`, `T-A`, `T-F` and `T-F-A`.

use crate::plan::Plan;

/// Which tier of its members a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TierChoice {
    /// The last one.
    Last,
    /// The one of that name, in the members that have it.
    Named(String),
}

/// Where a name comes from, for messages about clashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// In words: "flavor `cpu`".
    pub(crate) words: String,
    /// The flavor or index whose name is to blame.
    pub(crate) blame: Blame,
}

/// What to point at when a name clashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    Flavor(String),
    Index(String),
    Nothing,
}

/// A short name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) name: String,
    /// Every member it can mean.
    pub(crate) members: Vec<usize>,
    /// The one it means when building without an architecture, where that is not all of them.
    pub(crate) default: Option<usize>,
    pub(crate) tier: TierChoice,
    /// The flavor, when the name is one flavor and leaves the architecture open.
    pub(crate) flavor: Option<String>,
    pub(crate) origin: Origin,
}

/// Names for building, in the order of the plan; `all` last.
pub(crate) fn build_names(plan: &Plan) -> Vec<Name> {
    let mut names = Vec::new();
    for flavor in &plan.flavors {
        let members = plan.members_of(&flavor.name);
        let blame = Blame::Flavor(flavor.name.clone());
        let name = |name: String, members: &[usize], tier: &TierChoice, words: String| Name {
            name,
            members: members.to_vec(),
            default: None,
            tier: tier.clone(),
            flavor: None,
            origin: Origin { words, blame: blame.clone() },
        };
        for tier in choices(plan, &members) {
            let suffix = suffix(&tier);
            names.push(Name {
                default: members.first().copied(),
                flavor: Some(flavor.name.clone()),
                ..name(
                    format!("{}{suffix}", flavor.name),
                    &members,
                    &tier,
                    format!("flavor `{}`{}", flavor.name, of(&tier)),
                )
            });
            for &at in &members {
                let Some(member) = plan.members.get(at) else { continue };
                let arch = member.arch();
                let words = format!("member `{member}`{}", of(&tier));
                if plan.plain_flavor(&arch) == Some(&flavor.name) {
                    names.push(name(format!("{arch}{suffix}"), &[at], &tier, words.clone()));
                }
                names.push(name(format!("{}-{arch}{suffix}", flavor.name), &[at], &tier, words));
            }
        }
    }
    for index in &plan.indexes {
        names.push(Name {
            name: index.name.clone(),
            members: index.members.clone(),
            default: None,
            tier: TierChoice::Last,
            flavor: None,
            origin: Origin {
                words: format!("index `{}`", index.name),
                blame: Blame::Index(index.name.clone()),
            },
        });
    }
    names.push(everything(plan, "all".to_owned(), TierChoice::Last));
    names
}

/// Names for publishing: those for building, and the tiers by tier first.
pub(crate) fn publish_names(plan: &Plan) -> Vec<Name> {
    let mut names = build_names(plan);
    let every: Vec<usize> = (0..plan.members.len()).collect();
    let mut added = Vec::new();
    for tier in choices(plan, &every) {
        let TierChoice::Named(word) = &tier else { continue };
        added.push(everything(plan, word.clone(), tier.clone()));
        for name in names.iter().filter(|name| name.tier == tier) {
            if let Some(rest) = name.name.strip_suffix(&suffix(&tier)) {
                added.push(Name { name: format!("{word}-{rest}"), ..name.clone() });
            }
        }
    }
    names.extend(added);
    names
}

fn everything(plan: &Plan, name: String, tier: TierChoice) -> Name {
    let words = match &tier {
        TierChoice::Last => "the whole family".to_owned(),
        TierChoice::Named(tier) => format!("tier `{tier}` of the whole family"),
    };
    Name {
        name,
        members: (0..plan.members.len()).collect(),
        default: None,
        tier,
        flavor: None,
        origin: Origin { words, blame: Blame::Nothing },
    }
}

/// The last tier, and every tier by name, in the order of the chains.
fn choices(plan: &Plan, members: &[usize]) -> Vec<TierChoice> {
    let mut choices = vec![TierChoice::Last];
    for tier in members.iter().filter_map(|at| plan.members.get(*at)).flat_map(|m| &m.tiers) {
        let choice = TierChoice::Named(tier.name.clone());
        if !choices.contains(&choice) {
            choices.push(choice);
        }
    }
    choices
}

fn suffix(tier: &TierChoice) -> String {
    match tier {
        TierChoice::Last => String::new(),
        TierChoice::Named(tier) => format!("-{tier}"),
    }
}

fn of(tier: &TierChoice) -> String {
    match tier {
        TierChoice::Last => String::new(),
        TierChoice::Named(tier) => format!(", tier `{tier}`"),
    }
}
