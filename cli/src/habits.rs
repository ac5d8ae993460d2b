//! Words that people bring along from other tools, and the verbs that they mean here.

/// What somebody means who writes `words` where a verb is expected: our word for it, and the next step.
pub(crate) fn meant(words: &[&str]) -> Option<(String, String)> {
    let (said, rest) = match words {
        [noun @ ("kv" | "secret" | "secrets"), verb, ..] => (format!("{noun} {verb}"), *verb),
        [word, ..] => ((*word).to_owned(), *word),
        [] => return None,
    };
    let verb = match rest {
        "kv" | "secret" | "secrets" | "read" | "get" | "show" | "cat" | "fetch" | "reveal" => "get",
        "write" | "put" | "set" | "store" | "add" | "create" | "insert" => "put",
        "ls" | "list" => "list",
        "rm" | "del" | "delete" | "remove" => "delete",
        "undelete" | "restore" => "undelete",
        "destroy" | "purge" => "destroy",
        "versions" | "history" | "log" => "history",
        "watch" | "follow" | "subscribe" => "watch",
        "metadata" | "tag" | "annotate" => "metadata",
        "exec" | "env" => "run",
        "login" | "auth" | "token" => {
            let why = "nobody logs in: whoever has a registered identity file is known by its key".to_owned();
            let next = "symbolon identity new, or choose one with --identity FILE; symbolon identity show";
            return Some((why, next.to_owned()));
        }
        _ => return None,
    };
    Some((
        format!("what other tools call '{said}' is '{verb}' here"),
        format!("symbolon {verb} --help"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_tools_lead_to_our_verbs() {
        for (words, verb) in [
            (["read", "a/b"].as_slice(), "get"),
            (&["write", "a/b"], "put"),
            (&["rm", "a/b"], "delete"),
            (&["kv", "get", "a/b"], "get"),
            (&["kv", "put", "a/b"], "put"),
            (&["kv", "destroy", "a/b"], "destroy"),
            (&["secrets", "list"], "list"),
            (&["kv"], "get"),
        ] {
            let (_, next) = meant(words).unwrap();
            assert_eq!(next, format!("symbolon {verb} --help"), "{words:?}");
        }
        assert!(meant(&["login"]).unwrap().0.contains("nobody logs in"));
        assert_eq!(meant(&["shtatus"]), None);
    }
}
