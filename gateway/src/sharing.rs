//! What many robots have in common is held once: equal values become one.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use muster_protocol::schema::Schema;

/// Every value that is in use, by its hash. What is shared is no state: it changes how much memory equal values take, and
/// nothing else.
#[derive(Debug)]
pub(crate) struct Sharing<T>(LazyLock<Mutex<Values<T>>>);

#[derive(Debug)]
struct Values<T> {
    hasher: RandomState,
    by_hash: HashMap<u64, Weak<T>>,
    /// Those that nobody uses any more are forgotten when there are this many.
    swept_at: usize,
}

static SCHEMAS: Sharing<Schema> = Sharing::new();

/// Fewest values for which it is worth looking which are still in use.
const SWEEP_MIN: usize = 64;

impl<T> Sharing<T> {
    /// Shares nothing yet.
    pub(crate) const fn new() -> Self {
        Self(LazyLock::new(Mutex::default))
    }

    /// Returns the value that `is` the one of this key, or what `make` makes.
    pub(crate) fn of<K: Hash + ?Sized>(
        &self,
        key: &K,
        is: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> Arc<T>,
    ) -> Arc<T> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = values.hasher.hash_one(key);
        let known = values.by_hash.get(&hash).and_then(Weak::upgrade);
        if let Some(known) = known.filter(|known| is(known)) {
            return known;
        }
        let made = make();
        if values.by_hash.len() >= values.swept_at {
            values.by_hash.retain(|_, value| value.strong_count() > 0);
            values.swept_at = (2 * values.by_hash.len()).max(SWEEP_MIN);
        }
        values.by_hash.insert(hash, Arc::downgrade(&made));
        made
    }
}

/// Returns the one schema that equals this one: robots of a kind send the same.
pub(crate) fn shared_schema(schema: &Arc<Schema>) -> Arc<Schema> {
    SCHEMAS.of(&schema.hash(), |known| *known == **schema, || Arc::clone(schema))
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), by_hash: HashMap::new(), swept_at: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(texts: &Sharing<String>, text: &str) -> Arc<String> {
        texts.of(text, |known| known == text, || Arc::new(text.to_owned()))
    }

    #[test]
    fn equal_values_are_one_and_others_are_not() {
        let texts = Sharing::new();
        let one = text(&texts, "a");
        assert!(Arc::ptr_eq(&one, &text(&texts, "a")));
        assert_eq!(*text(&texts, "b"), "b");
    }

    #[test]
    fn one_of_the_same_hash_is_told_apart() {
        let texts = Sharing::<String>::new();
        let of = |text: &str| texts.of("same key", |known| known == text, || Arc::new(text.to_owned()));
        let (a, b) = (of("a"), of("b"));
        assert_eq!((&**a, &**b, &**of("a")), ("a", "b", "a"));
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let texts = Sharing::new();
        for round in 0..10 * SWEEP_MIN {
            text(&texts, &round.to_string());
            assert!(texts.0.lock().unwrap().by_hash.len() <= SWEEP_MIN);
        }
    }
}
