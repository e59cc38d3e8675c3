//! A thread that answers questions one at a time, the newest only: what was asked before it, and not begun, is void.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::Wake;

/// Questions go in, answers come out; the thread ends with this.
pub(super) struct Newest<Q, A> {
    questions: Sender<Q>,
    answers: Receiver<A>,
}

impl<Q: Send + 'static, A: Send + 'static> Newest<Q, A> {
    /// Starts the thread, which calls `wake` after each answer.
    ///
    /// # Errors
    /// Those of the system: no thread can be had.
    pub(super) fn start(
        name: &str,
        wake: Wake,
        mut answer: impl FnMut(Q) -> A + Send + 'static,
    ) -> std::io::Result<Self> {
        let (questions, inbox) = channel();
        let (outbox, answers) = channel();
        let run = move || {
            while let Ok(first) = inbox.recv() {
                let newest = inbox.try_iter().last().unwrap_or(first);
                if outbox.send(answer(newest)).is_err() {
                    return;
                }
                wake();
            }
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { questions, answers })
    }

    /// Asks.
    pub(super) fn ask(&self, question: Q) {
        // The thread ends before this only by a panic; then there are no answers any more.
        let _ = self.questions.send(question);
    }

    /// The last answer since this was called last.
    pub(super) fn answer(&self) -> Option<A> {
        self.answers.try_iter().last()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_newest_question_is_answered_and_older_ones_are_void() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (begin, begun) = channel();
        let (go, gate) = channel::<()>();
        let seen = asked.clone();
        let answer = move |question: u32| {
            seen.lock().unwrap().push(question);
            begin.send(()).unwrap();
            gate.recv().unwrap();
            question * 10
        };
        let newest = Newest::start("test", Arc::new(|| ()), answer).unwrap();
        newest.ask(1);
        begun.recv().unwrap();
        (2..6).for_each(|question| newest.ask(question));
        go.send(()).unwrap();
        begun.recv().unwrap();
        go.send(()).unwrap();
        let start = Instant::now();
        while newest.answer() != Some(50) {
            assert!(start.elapsed() < Duration::from_secs(60), "no answer to the newest question");
            std::thread::yield_now();
        }
        assert_eq!(*asked.lock().unwrap(), [1, 5]);
    }
}
