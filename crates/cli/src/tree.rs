//! Trees as text, with the lines that people know from `tree`.

/// A line and what hangs below it.
#[derive(Default)]
pub(crate) struct Node {
    text: String,
    children: Vec<Node>,
}

impl Node {
    /// A line with nothing below it.
    pub(crate) fn new(text: impl Into<String>) -> Node {
        Node { text: text.into(), children: Vec::new() }
    }

    /// Hangs a node below this one.
    pub(crate) fn push(&mut self, child: Node) {
        self.children.push(child);
    }

    /// The whole tree; every line ends with a line feed.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("{}\n", self.text);
        self.render_children("", &mut text);
        text
    }

    fn render_children(&self, indent: &str, text: &mut String) {
        for (number, child) in self.children.iter().enumerate() {
            let last = number + 1 == self.children.len();
            let (branch, below) =
                if last { ("└── ", "    ") } else { ("├── ", "│   ") };
            text.push_str(&format!("{indent}{branch}{}\n", child.text));
            child.render_children(&format!("{indent}{below}"), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_end_where_they_should() {
        let mut root = Node::new("root");
        let mut first = Node::new("first");
        first.push(Node::new("leaf"));
        root.push(first);
        root.push(Node::new("second"));
        assert_eq!(root.render(), "root\n├── first\n│   └── leaf\n└── second\n");
    }
}
