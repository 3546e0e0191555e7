//! Files that keep a failing run of a model: its choices.
//!
//! ```text
//! netpoll-model-failure 1
//! # made smaller in 712 runs: of 96 choices that were not the dullest 2 remain
//! # needs: thread 1 gives way to thread 2 before netpoll/src/poll/slot.rs:131
//! # needs: event-order 3 of 7 in a call of thread 2
//! model runtime_close_and_deadline
//! sentence S3: woken 2 times in one park
//! choices 41
//! thread:0/2*36 thread:1/2 thread:0/3*3 event-order:3/8
//! end
//! ```
//!
//! `sentence` is for the reader. `*m` stands for `m` equal choices in a row. Lines that begin with `#` and
//! empty ones are skipped; all else has to be as it is written here.

use std::fmt::Write as _;

use netpoll_sim::Choice;

/// The first line.
const FIRST: &str = "netpoll-model-failure 1";
/// Where lines of choices are broken.
const WIDTH: usize = 100;

/// A failing run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The model's name.
    pub model: String,
    /// What it violated, in one line.
    pub sentence: String,
    /// Its choices.
    pub choices: Vec<Choice>,
}

impl Failure {
    /// The file's text, with these lines as comments at its head.
    #[must_use]
    pub fn to_text(&self, comments: &[String]) -> String {
        let sentence = self.sentence.lines().next().unwrap_or_default();
        let lines = comments.iter().flat_map(|comment| comment.lines());
        let comments: String = lines.map(|line| format!("# {line}\n")).collect();
        let mut text = format!(
            "{FIRST}\n{comments}model {}\nsentence {sentence}\nchoices {}\n",
            self.model,
            self.choices.len()
        );
        let mut width = 0;
        for run in self.choices.chunk_by(|a, b| a == b) {
            let mut word = run[0].to_string();
            if run.len() > 1 {
                write!(word, "*{}", run.len()).expect("to a String");
            }
            if width > 0 && width + word.len() >= WIDTH {
                text.push('\n');
                width = 0;
            } else if width > 0 {
                text.push(' ');
                width += 1;
            }
            width += word.len();
            text += &word;
        }
        if width > 0 {
            text.push('\n');
        }
        text + "end\n"
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// The line that is not as it should be, and what was expected there.
    pub fn parse(text: &str) -> Result<Failure, String> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut line = |wanted: &str| lines.next().ok_or(format!("it ends before `{wanted}`"));
        let (_, first) = line(FIRST)?;
        if first != FIRST {
            return Err(format!("line 1: not `{FIRST}`"));
        }
        let mut field = |name: &str| {
            let (number, text) = line(name)?;
            let value = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
            value.map(str::to_string).ok_or(format!("line {number}: not `{name} …`"))
        };
        let (model, sentence) = (field("model")?, field("sentence")?);
        let count = field("choices")?;
        let count: usize = count.parse().map_err(|_| format!("`choices {count}`: not a number"))?;
        let mut choices = Vec::new();
        loop {
            let (number, text) = line("end")?;
            if text == "end" {
                break;
            }
            for word in text.split_whitespace() {
                read_run(word, count, &mut choices)
                    .map_err(|what| format!("line {number}: {what}"))?;
            }
        }
        if choices.len() != count {
            return Err(format!("{} choices where {count} were announced", choices.len()));
        }
        Ok(Failure { model, sentence, choices })
    }
}

/// Reads `thread:0/2*36`; there may be `most` choices in all.
fn read_run(word: &str, most: usize, choices: &mut Vec<Choice>) -> Result<(), String> {
    let (choice, times) = match word.split_once('*') {
        None => (word, Ok(1)),
        Some((choice, times)) => (choice, times.parse::<usize>()),
    };
    let times = times.map_err(|_| format!("`{word}` does not say how often"))?;
    let choice: Choice = choice.parse()?;
    if times > most - choices.len().min(most) {
        return Err(format!("more than {most} choices"));
    }
    choices.extend(std::iter::repeat_n(choice, times));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        let words = ["thread:0/2", "thread:0/2", "poll-eintr:1/2", "event-order:3/8"];
        let choices = words.iter().cycle().take(90).map(|word| word.parse().unwrap()).collect();
        let (model, sentence) = ("park_against_close".to_string(), "S3: twice".to_string());
        Failure { model, sentence, choices }
    }

    #[test]
    fn a_failure_is_read_back_from_its_text() {
        let text = failure().to_text(&[]);
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert_eq!(Failure::parse(&text), Ok(failure()));
        let commented = text.replace("\nchoices", "\n# mine\n\nchoices");
        assert_eq!(Failure::parse(&commented), Ok(failure()));
        let notes = ["made smaller".to_string(), "needs: one\ntwo".to_string()];
        let noted = failure().to_text(&notes);
        assert!(noted.contains("\n# made smaller\n# needs: one\n# two\nmodel "), "{noted}");
        assert_eq!(Failure::parse(&noted), Ok(failure()));
        let empty = Failure { choices: Vec::new(), ..failure() };
        assert_eq!(Failure::parse(&empty.to_text(&[])), Ok(empty));
    }

    #[test]
    fn a_damaged_file_is_refused_with_what_was_expected() {
        let text = failure().to_text(&[]);
        for (damaged, said) in [
            (String::new(), "it ends before"),
            (text.replace("failure 1", "failure 2"), "line 1: not"),
            (text.replace("model ", "modell "), "line 2: not `model …`"),
            (text.replace("choices 90", "choices many"), "not a number"),
            (text.replace("choices 90", "choices 91"), "90 choices where 91"),
            (text.replace("choices 90", "choices 89"), "more than 89 choices"),
            (text.replace("event-order:3/8", "event-order:9/8"), "is not a choice"),
            (text.replace("0/2*2", "0/2*x"), "does not say how often"),
            (text.replace("end\n", ""), "it ends before `end`"),
        ] {
            let error = Failure::parse(&damaged).expect_err(said);
            assert!(error.contains(said), "{error} instead of {said}");
        }
    }
}
