//! The shape of the plan file as data: which keys each table has, what they hold, what they mean.
//!
//! [`crate::parse`] checks a file against it and [`crate::json_schema`] prints it, so the two cannot
//! disagree. Leaves out what needs more than one key to judge: that is [`crate::check`].

/// What a value may be.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A string with something in it.
    Text,
    /// A string, possibly empty.
    AnyText,
    /// An integer from 0.
    Count,
    /// `true` or `false`.
    Switch,
    /// A list.
    List(&'static Kind),
    /// A table whose keys are names that the plan's author chooses.
    Map(&'static Kind),
    /// A table with known keys.
    Table(&'static Shape),
    /// One of several, told apart by their TOML type.
    AnyOf(&'static [Kind]),
}

/// A table with known keys.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What the table describes: `tier`.
    pub(crate) noun: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    /// As written in the file.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
    /// Whether the table means nothing without it.
    pub(crate) required: bool,
    /// One line for the schema.
    pub(crate) doc: &'static str,
    /// What a line with it looks like.
    pub(crate) example: &'static str,
}

const fn optional(name: &'static str, kind: Kind, doc: &'static str, example: &'static str) -> Key {
    Key { name, kind, required: false, doc, example }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str, example: &'static str) -> Key {
    Key { name, kind, required: true, doc, example }
}

const TEXTS: Kind = Kind::List(&Kind::Text);

/// The whole file.
pub(crate) static ROOT: Shape = Shape {
    noun: "plan",
    keys: &[
        required(
            "project",
            Kind::Table(&PROJECT),
            "Names, version and context of the whole family.",
            "[project]",
        ),
        optional("sources", Kind::Table(&SOURCES), "Where packages come from.", "[sources]"),
        optional(
            "base",
            Kind::Map(&Kind::Table(&BASE)),
            "Images made from Debian packages, by the name that FROM uses.",
            "[base.python]",
        ),
        required(
            "flavor",
            Kind::Map(&Kind::Table(&FLAVOR)),
            "What the members of the family are for, by name.",
            "[flavor.cpu]",
        ),
        optional("tags", Kind::Table(&TAGS), "Templates of tags.", "[tags]"),
        optional(
            "index",
            Kind::Map(&Kind::Table(&INDEX)),
            "Published indexes, by their moving tag.",
            "[index.latest]",
        ),
    ],
};

static PROJECT: Shape = Shape {
    noun: "project",
    keys: &[
        required("name", Kind::Text, "Repository of the local tags.", "name = \"my-app\""),
        optional(
            "repository",
            Kind::Text,
            "Where `publish` goes: HOST/PATH, without a tag.",
            "repository = \"ghcr.io/user/my-app\"",
        ),
        optional(
            "version",
            Kind::Text,
            "`git` for the v-tag on HEAD, or the version itself.",
            "version = \"git\"",
        ),
        optional(
            "context",
            Kind::Text,
            "Build context, relative to the plan's folder.",
            "context = \".\"",
        ),
        optional(
            "source-date-epoch",
            Kind::Count,
            "Latest time of any file in a layer, in seconds since 1970.",
            "source-date-epoch = 315532800",
        ),
    ],
};

static SOURCES: Shape = Shape {
    noun: "sources",
    keys: &[optional(
        "debian",
        Kind::AnyOf(&[
            Kind::Text,
            Kind::Table(&DEBIAN),
            Kind::List(&Kind::AnyOf(&[Kind::Text, Kind::Table(&DEBIAN)])),
        ]),
        "Debian archives: a URI, a table, or a list of them.",
        "debian = \"http://mirror.example/debian\"",
    )],
};

static DEBIAN: Shape = Shape {
    noun: "Debian source",
    keys: &[
        required(
            "uri",
            Kind::Text,
            "Root of the archive.",
            "uri = \"http://mirror.example/debian\"",
        ),
        optional(
            "suites",
            TEXTS,
            "Suites to read; those of the base by default.",
            "suites = [\"bookworm\", \"bookworm-updates\"]",
        ),
        optional(
            "components",
            TEXTS,
            "Components to read; those of the base by default.",
            "components = [\"main\"]",
        ),
        optional(
            "signed-by",
            Kind::Text,
            "Keyring file; Debian's archive keys by default.",
            "signed-by = \"keys/archive.asc\"",
        ),
        optional(
            "security",
            Kind::Text,
            "Root of the archive of security updates.",
            "security = \"http://mirror.example/debian-security\"",
        ),
    ],
};

static BASE: Shape = Shape {
    noun: "base",
    keys: &[
        optional("from", Kind::Text, "Base that this one adds to.", "from = \"python\""),
        optional("debian", Kind::Text, "Debian suite.", "debian = \"bookworm\""),
        optional("packages", TEXTS, "Packages to install.", "packages = [\"ca-certificates\"]"),
        optional("components", TEXTS, "Components of the archive.", "components = [\"main\"]"),
        optional(
            "recommends",
            Kind::Switch,
            "Whether recommended packages are installed too.",
            "recommends = false",
        ),
    ],
};

static FLAVOR: Shape = Shape {
    noun: "flavor",
    keys: &[
        required(
            "platforms",
            TEXTS,
            "Platforms it is built for, the default one first.",
            "platforms = [\"linux/amd64\"]",
        ),
        optional(
            "accelerator",
            Kind::Text,
            "Device that its images are for.",
            "accelerator = \"cuda\"",
        ),
        required(
            "tiers",
            Kind::List(&Kind::Table(&TIER)),
            "Images of the chain, each built FROM the one before.",
            "tiers = [{ name = \"app\", dockerfile = \"Dockerfile\" }]",
        ),
        optional(
            "smoke",
            TEXTS,
            "Command that must succeed in the last image before it is published.",
            "smoke = [\"my-app\", \"--version\"]",
        ),
        optional(
            "on",
            Kind::Map(&Kind::Table(&ON)),
            "What differs on one platform.",
            "[flavor.cpu.on.\"linux/arm64\"]",
        ),
    ],
};

static TIER: Shape = Shape {
    noun: "tier",
    keys: &[
        required("name", Kind::Text, "Name of the tier.", "name = \"base\""),
        optional(
            "dockerfile",
            Kind::Text,
            "Path of the Dockerfile, relative to the plan's folder.",
            "dockerfile = \"Dockerfile\"",
        ),
        optional("target", Kind::Text, "Stage to build.", "target = \"runtime\""),
        optional(
            "build-args",
            Kind::Map(&Kind::AnyText),
            "Build arguments.",
            "build-args = { PYTHON = \"3.12\" }",
        ),
        optional(
            "context",
            Kind::Text,
            "Build context, relative to the plan's folder.",
            "context = \"app\"",
        ),
        optional(
            "contexts",
            Kind::Map(&Kind::Text),
            "Named contexts: a folder, docker-image://, oci-layout://, target: or a URL.",
            "contexts = { shared = \"../shared\" }",
        ),
    ],
};

static ON: Shape = Shape {
    noun: "platform override",
    keys: &[
        optional(
            "tier",
            Kind::Map(&Kind::Table(&OVERRIDE)),
            "Tiers that differ, by name.",
            "tier.base.dockerfile = \"Dockerfile.arm64\"",
        ),
        optional(
            "smoke",
            TEXTS,
            "Command instead of the flavor's.",
            "smoke = [\"my-app\", \"--version\"]",
        ),
    ],
};

static OVERRIDE: Shape = Shape {
    noun: "tier override",
    keys: &[
        optional("dockerfile", Kind::Text, "Instead of the tier's.", "dockerfile = \"Dockerfile\""),
        optional("target", Kind::Text, "Instead of the tier's.", "target = \"runtime\""),
        optional(
            "build-args",
            Kind::Map(&Kind::AnyText),
            "Added to the tier's.",
            "build-args = { PYTHON = \"3.12\" }",
        ),
        optional("context", Kind::Text, "Instead of the tier's.", "context = \"app\""),
        optional(
            "contexts",
            Kind::Map(&Kind::Text),
            "Added to the tier's.",
            "contexts = { shared = \"../shared\" }",
        ),
    ],
};

static TAGS: Shape = Shape {
    noun: "tags",
    keys: &[
        optional(
            "local",
            TEXTS,
            "Local tags of one image.",
            "local = [\"{{ flavor }}-{{ arch }}-{{ tier }}\"]",
        ),
        optional(
            "gathered",
            TEXTS,
            "Local tags that gather the architectures built so far.",
            "gathered = [\"{{ flavor }}-{{ tier }}\"]",
        ),
        optional(
            "publish",
            TEXTS,
            "Published tags of a member.",
            "publish = [\"{{ version }}-{{ flavor }}-{{ arch }}\"]",
        ),
        optional(
            "publish-flavor",
            TEXTS,
            "Published tags of a whole flavor.",
            "publish-flavor = [\"{{ flavor }}-latest\"]",
        ),
        optional(
            "publish-tier",
            TEXTS,
            "Published tags of a tier before the last.",
            "publish-tier = [\"{{ flavor }}-{{ tier }}-{{ arch }}-{{ version }}\"]",
        ),
        optional("index", TEXTS, "Published tags of an index.", "index = [\"{{ index }}\"]"),
    ],
};

static INDEX: Shape = Shape {
    noun: "index",
    keys: &[required(
        "members",
        TEXTS,
        "Members in order: the first match of a pull wins.",
        "members = [\"cpu/amd64\", \"cpu/arm64\"]",
    )],
};
