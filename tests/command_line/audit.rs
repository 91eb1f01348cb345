//! `reeve audit`: what was done and refused is shown, in order, and proved.

use std::time::Duration;

use serde_json::Value;

use crate::coordinator::Coordinator;
use crate::typed::reeve_until;

#[tokio::test]
async fn the_log_is_shown_from_its_end_and_proved() {
    let coordinator = Coordinator::start().await;
    let type_in = async |line: &str| coordinator.reeve(line).await;
    type_in("audit tail").await.ended(0);
    type_in("audit verify").await.ended(0).says(&["whole", "none yet"]);
    type_in("host add node-1 --realm primary --profile r750").await.ended(0);
    type_in("host add node-1 --realm primary --profile r750").await.ended(4);
    type_in("host delete node-7").await.ended(3);
    type_in("host list").await.ended(0);

    let table = type_in("audit tail").await.ended(0).says(&["NUMBER", "add-host", "host node-1", "done"]);
    assert_eq!(table.out.lines().count(), 4, "{}", table.out);
    table.says(&["refused: there is a host node-1 already", "refused: there is no host node-7"]);
    let last = type_in("audit tail -n 1 -o json").await.ended(0).json();
    assert_eq!(last.as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&last[0]["what"], &last[0]["outcome"], &last[0]["kind"]),
        (&"delete-host".into(), &"refused".into(), &"not-found".into())
    );
    assert_eq!(last[0]["actor"], "operator");
    let proof = type_in("audit verify -o json").await.ended(0).json();
    assert_eq!((&proof["whole"], &proof["records"]), (&true.into(), &3.into()));
    assert!(proof["findings"].as_array().is_some_and(Vec::is_empty));
}

#[tokio::test]
async fn more_than_one_answers_worth_is_shown_whole() {
    let coordinator = Coordinator::start().await;
    for _ in 0..620 {
        coordinator.reeve("host delete nothing-there").await.ended(3);
    }
    let all = coordinator.reeve("audit tail -n 1000 -q").await.ended(0);
    let numbers: Vec<String> = (1..=620).map(|number| number.to_string()).collect();
    assert_eq!(all.out.lines().collect::<Vec<_>>(), numbers);
    let some = coordinator.reeve("audit tail -n 510 -q").await.ended(0);
    assert_eq!(some.out.lines().collect::<Vec<_>>(), numbers[110..]);
}

/// Follows until `lines` lines were read, while the same is refused again and again.
async fn followed(coordinator: &Coordinator, line: &str, lines: usize) -> Vec<String> {
    let following = reeve_until(&coordinator.socket, line, lines);
    let acting = async {
        loop {
            coordinator.reeve("host add node-1 --realm primary --profile r750").await;
        }
    };
    let both = async {
        tokio::select! {
            answer = following => answer,
            () = acting => unreachable!(),
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), both).await.expect("it does not end");
    answer.ended(0).out.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_followed_comes_by_itself_and_ends_with_its_reader() {
    let coordinator = Coordinator::start().await;
    coordinator.reeve("host delete node-7").await.ended(3);
    let lines = followed(&coordinator, "audit tail -f", 4).await;
    assert!(lines[0].starts_with("NUMBER") && lines[1].contains("delete-host"), "{lines:?}");
    assert!(lines[2].contains("add-host") && lines[2].contains("done"), "{lines:?}");
    assert!(lines[3].contains("add-host") && lines[3].contains("refused"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("NUMBER")).count(), 1, "{lines:?}");
    // For programs each record is a line of its own, from the last one on.
    let lines = followed(&coordinator, "audit tail -f -n 1 -o json", 3).await;
    let numbers = lines.iter().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["sequence"].as_u64().unwrap()
    });
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers.len() >= 3 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}
