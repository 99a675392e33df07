//! Which backend takes a request: round robin over those that are up, backups only when no
//! other is left.

use std::sync::Arc;

use super::state::Backend;

/// The backend at `position` among those eligible. `tried` are those that already failed
/// this request; with the same position the next one in order follows.
pub(super) fn pick(backends: &[Arc<Backend>], position: usize, tried: &[usize]) -> Option<usize> {
    [false, true].into_iter().find_map(|backup| {
        let eligible = |&index: &usize| {
            let backend = &backends[index];
            backend.backup == backup && backend.is_up() && !tried.contains(&index)
        };
        let candidates = || (0..backends.len()).filter(eligible);
        let count = candidates().count();
        // Health may change between count and choice: then the last candidate is left.
        (count > 0).then(|| candidates().nth(position % count).or_else(|| candidates().next_back())).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model;

    fn pool(backups: &[bool]) -> Vec<Arc<Backend>> {
        let backend = |&backup: &bool| model::Backend {
            server_name: None,
            name: "b".to_owned(),
            address: "127.0.0.1:1".parse().unwrap(),
            backup,
        };
        backups.iter().map(|backup| Arc::new(Backend::new(&backend(backup), 1))).collect()
    }

    #[test]
    fn positions_go_round_the_backends_that_are_up() {
        let pool = pool(&[false, false, false]);
        let round = |pool: &[Arc<Backend>]| (0..4).map(|p| pick(pool, p, &[])).collect::<Vec<_>>();
        assert_eq!(round(&pool), [Some(0), Some(1), Some(2), Some(0)]);
        pool[1].set_up(false);
        assert_eq!(round(&pool), [Some(0), Some(2), Some(0), Some(2)]);
    }

    #[test]
    fn a_backup_serves_only_while_all_others_are_down_and_gives_traffic_back() {
        let pool = pool(&[false, true, false]);
        assert!((0..8).all(|position| pick(&pool, position, &[]) != Some(1)));
        pool[0].set_up(false);
        assert!((0..8).all(|position| pick(&pool, position, &[]) == Some(2)));
        pool[2].set_up(false);
        assert!((0..8).all(|position| pick(&pool, position, &[]) == Some(1)));
        pool[0].set_up(true);
        assert!((0..8).all(|position| pick(&pool, position, &[]) == Some(0)));
    }

    #[test]
    fn a_failed_backend_is_not_tried_twice() {
        let pool = pool(&[false, false]);
        assert_eq!(pick(&pool, 0, &[0]), Some(1));
        assert_eq!(pick(&pool, 1, &[1]), Some(0));
        assert_eq!(pick(&pool, 0, &[0, 1]), None);
        pool[1].set_up(false);
        assert_eq!(pick(&pool, 0, &[0]), None);
    }
}
