//! The worked examples of `docs/specs`: the lines between "```example" and "```", each a name, two spaces or more, and a
//! value; a line that begins with a space goes on with the value above. A test takes the inputs from there and says what
//! the code makes of them: whatever differs, or is asked for by nobody, fails.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::{cell::RefCell, collections::BTreeSet, fmt::Write};

/// Hex digits in one line.
const WIDTH: usize = 64;

/// The example of one document.
pub struct Example {
    entries: Vec<(String, String)>,
    seen: RefCell<BTreeSet<String>>,
    wrong: RefCell<String>,
}

impl Example {
    /// The example in `document`, which has exactly one.
    pub fn of(document: &str) -> Self {
        let blocks: Vec<&str> = document.split("```example\n").skip(1).collect();
        assert_eq!(blocks.len(), 1, "a specification has one example");
        let block = blocks[0].split("```").next().unwrap();
        let mut entries: Vec<(String, String)> = Vec::new();
        for line in block.lines().filter(|line| !line.is_empty()) {
            if line.starts_with(' ') {
                entries.last_mut().unwrap().1.push_str(line.trim());
            } else {
                let (name, value) = line.split_once("  ").unwrap();
                assert!(
                    entries.iter().all(|(earlier, _)| earlier != name),
                    "{name} stands twice"
                );
                entries.push((name.to_owned(), value.trim().to_owned()));
            }
        }
        Self {
            entries,
            seen: RefCell::default(),
            wrong: RefCell::default(),
        }
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.seen.borrow_mut().insert(name.to_owned());
        let found = self.entries.iter().find(|(entry, _)| entry == name);
        found.map(|(_, value)| value.as_str())
    }

    /// An input that is text.
    pub fn text(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("the example has no {name}"))
    }

    /// An input that is a number.
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> N {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("{name} is {text}, no number"))
    }

    /// An input of `N` bytes.
    pub fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        let bytes = hex::decode(self.text(name)).unwrap_or_else(|_| panic!("{name} is no hex"));
        bytes.try_into().unwrap_or_else(|_| panic!("{name} has not {N} bytes"))
    }

    /// What the code makes: bytes.
    pub fn shows(&self, name: &str, bytes: impl AsRef<[u8]>) {
        self.shows_text(name, &hex::encode(bytes));
    }

    /// What the code makes: text or a number.
    pub fn shows_text(&self, name: &str, made: &str) {
        if self.find(name) != Some(made) {
            let mut wrong = self.wrong.borrow_mut();
            let digits: Vec<char> = made.chars().collect();
            for (nth, line) in digits.chunks(WIDTH).enumerate() {
                let name = if nth == 0 { name } else { "" };
                writeln!(wrong, "{name:<18}  {}", line.iter().collect::<String>()).unwrap();
            }
        }
    }

    /// Another document's example says the same.
    pub fn agrees(&self, other: &Self, name: &str) {
        self.shows_text(name, other.text(name));
    }

    /// Fails unless the example is what the code makes, and all of it was looked at.
    pub fn finish(self) {
        let (wrong, seen) = (self.wrong.into_inner(), self.seen.into_inner());
        let unused: Vec<_> = self.entries.iter().filter(|(name, _)| !seen.contains(name)).collect();
        assert!(
            wrong.is_empty(),
            "the document differs from what the code makes:\n{wrong}"
        );
        assert!(unused.is_empty(), "nothing looks at {unused:?}");
    }
}
