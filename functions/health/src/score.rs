//! The health score: a number from 0 to 100 in three parts, by whole numbers only.
//!
//! | Part | Weight | What it is worth |
//! |---|---|---|
//! | `routing` | 20 | the grade of alias and release |
//! | `versions` | 40 | the grades of the versions that take requests, weighted by their shares |
//! | `dependencies` | 40 | the mean of the dependencies' grades |
//!
//! A part's points are `weight * worth`, rounded down; the score is their sum. So it is 100 only where every grade is
//! full, and a grade that falls never lets it rise.

/// How much of what is expected is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// Nothing.
    None,
    /// Half of it, or nobody can tell.
    Half,
    /// Nearly all.
    Most,
    /// All.
    Full,
}

impl Grade {
    /// Every grade, from the worst to the best.
    pub const ALL: [Self; 4] = [Self::None, Self::Half, Self::Most, Self::Full];

    /// What it is worth, in thousandths.
    pub fn permille(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Half => 500,
            Self::Most => 750,
            Self::Full => 1000,
        }
    }
}

/// What is scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Grades {
    /// Of alias and release.
    pub routing: Grade,
    /// Of each version that takes requests, with its share (0 to 1; the shares need not add up to 1).
    pub versions: Vec<(f64, Grade)>,
    /// Of each dependency.
    pub dependencies: Vec<Grade>,
}

/// The score and its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// 0 to 100: the sum of the parts' points.
    pub value: u64,
    /// `routing`, `versions`, `dependencies`.
    pub parts: [Part; 3],
}

/// A part of the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// The most points that it can have.
    pub weight: u64,
    /// The points that it has.
    pub points: u64,
}

/// Points of alias and release.
pub const ROUTING_WEIGHT: u64 = 20;
/// Points of the versions that take requests.
pub const VERSIONS_WEIGHT: u64 = 40;
/// Points of the dependencies.
pub const DEPENDENCIES_WEIGHT: u64 = 40;

/// Scores the grades. Without a version that takes requests that part has no points; without a dependency that part
/// has them all.
pub fn score(grades: &Grades) -> Score {
    let versions: Vec<(u64, Grade)> = grades
        .versions
        .iter()
        .map(|(share, grade)| (share_permille(*share), *grade))
        .collect();
    let dependencies: Vec<(u64, Grade)> = grades
        .dependencies
        .iter()
        .map(|grade| (1, *grade))
        .collect();
    let parts = [
        part("routing", ROUTING_WEIGHT, &[(1, grades.routing)], 0),
        part("versions", VERSIONS_WEIGHT, &versions, 0),
        part(
            "dependencies",
            DEPENDENCIES_WEIGHT,
            &dependencies,
            DEPENDENCIES_WEIGHT,
        ),
    ];
    Score {
        value: parts.iter().map(|part| part.points).sum(),
        parts,
    }
}

/// A share in thousandths; what is no share counts as none.
fn share_permille(share: f64) -> u64 {
    if share.is_finite() {
        (share.clamp(0.0, 1.0) * 1000.0).round() as u64
    } else {
        0
    }
}

/// A part over weighted grades, with `otherwise` points where nothing has a weight.
fn part(name: &'static str, weight: u64, grades: &[(u64, Grade)], otherwise: u64) -> Part {
    let shares: u64 = grades.iter().map(|(share, _)| share).sum();
    let worth: u64 = grades
        .iter()
        .map(|(share, grade)| share * grade.permille())
        .sum();
    let points = if shares == 0 {
        otherwise
    } else {
        weight * worth / (shares * 1000)
    };
    Part {
        name,
        weight,
        points,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Grade::{Full, Half, Most, None};
    use super::*;

    fn points(grades: &Grades) -> (u64, [u64; 3]) {
        let score = score(grades);
        (score.value, score.parts.map(|part| part.points))
    }

    fn grades(
        routing: Grade,
        versions: &[(f64, Grade)],
        down: usize,
        slow: usize,
        of: usize,
    ) -> Grades {
        let mut dependencies = vec![None; down];
        dependencies.extend(vec![Half; slow]);
        dependencies.resize(of, Full);
        Grades {
            routing,
            versions: versions.to_vec(),
            dependencies,
        }
    }

    /// The table of `docs/health.md`.
    fn examples() -> Vec<(&'static str, Grades, u64, [u64; 3])> {
        let one = |grade| [(1.0, grade)];
        vec![
            (
                "all is well",
                grades(Full, &one(Full), 0, 0, 6),
                100,
                [20, 40, 40],
            ),
            (
                "nobody asked for a while",
                grades(Full, &one(Most), 0, 0, 6),
                90,
                [20, 30, 40],
            ),
            (
                "just activated, no heartbeat yet",
                grades(Full, &one(Half), 0, 0, 6),
                80,
                [20, 20, 40],
            ),
            (
                "a tenth of the requests goes to a version that does not serve",
                grades(Full, &[(0.9, Full), (0.1, None)], 0, 0, 6),
                96,
                [20, 36, 40],
            ),
            (
                "one of six dependencies is slow",
                grades(Full, &one(Full), 0, 1, 6),
                96,
                [20, 40, 36],
            ),
            (
                "one of six dependencies is gone",
                grades(Full, &one(Full), 1, 0, 6),
                93,
                [20, 40, 33],
            ),
            (
                "the release does not load",
                grades(Full, &one(None), 0, 0, 6),
                60,
                [20, 0, 40],
            ),
            (
                "no release was activated",
                grades(None, &one(None), 0, 0, 6),
                40,
                [0, 0, 40],
            ),
            (
                "the alias was moved by somebody else",
                grades(None, &[], 0, 0, 6),
                40,
                [0, 0, 40],
            ),
            ("nothing answers", grades(None, &[], 6, 0, 6), 0, [0, 0, 0]),
        ]
    }

    #[test]
    fn examples_have_the_points_that_the_documentation_gives() {
        let page = include_str!("../../../docs/health.md");
        for (what, grades, value, parts) in examples() {
            assert_eq!(points(&grades), (value, parts), "{what}");
            let [routing, versions, dependencies] = parts;
            let row = format!("| {what} | {routing} | {versions} | {dependencies} | {value} |");
            assert!(page.contains(&row), "docs/health.md has no row {row}");
        }
    }

    #[test]
    fn shares_that_are_no_shares_count_as_none() {
        for share in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            assert_eq!(
                points(&grades(Full, &[(share, Full), (0.5, Half)], 0, 0, 1)),
                (80, [20, 20, 40])
            );
            assert_eq!(
                points(&grades(Full, &[(share, Full)], 0, 0, 1)),
                (60, [20, 0, 40])
            );
        }
    }

    #[test]
    fn without_a_dependency_nothing_is_missing() {
        assert_eq!(
            points(&grades(Full, &[(1.0, Full)], 0, 0, 0)),
            (100, [20, 40, 40])
        );
    }

    fn any_grade() -> impl Strategy<Value = Grade> {
        prop::sample::select(Grade::ALL.to_vec())
    }

    prop_compose! {
        fn any_grades()(
            routing in any_grade(),
            versions in prop::collection::vec((0.0..=1.0, any_grade()), 0..4),
            dependencies in prop::collection::vec(any_grade(), 0..9),
        ) -> Grades {
            Grades { routing, versions, dependencies }
        }
    }

    /// The same grades, one of them replaced.
    fn with(grades: &Grades, which: usize, grade: Grade) -> (Grades, Grade) {
        let mut changed = grades.clone();
        let mut all: Vec<&mut Grade> = std::iter::once(&mut changed.routing)
            .chain(changed.versions.iter_mut().map(|(_, grade)| grade))
            .chain(changed.dependencies.iter_mut())
            .collect();
        let at = which % all.len();
        let before = std::mem::replace(all[at], grade);
        (changed, before)
    }

    proptest! {
        #[test]
        fn the_parts_add_up_and_stay_within_their_weights(grades in any_grades()) {
            let score = score(&grades);
            prop_assert_eq!(score.value, score.parts.iter().map(|part| part.points).sum::<u64>());
            prop_assert_eq!(score.parts.iter().map(|part| part.weight).sum::<u64>(), 100);
            for part in score.parts {
                prop_assert!(part.points <= part.weight, "{part:?}");
            }
        }

        #[test]
        fn a_grade_that_falls_never_lets_the_score_rise(
            grades in any_grades(),
            which in 0_usize..64,
            grade in any_grade(),
        ) {
            let (changed, before) = with(&grades, which, grade);
            let (old, new) = (score(&grades).value, score(&changed).value);
            if grade <= before {
                prop_assert!(new <= old, "{before:?} -> {grade:?}: {old} -> {new}");
            } else {
                prop_assert!(new >= old, "{before:?} -> {grade:?}: {old} -> {new}");
            }
        }

        #[test]
        fn only_a_fleet_without_a_blemish_has_a_hundred(grades in any_grades()) {
            let versions: Vec<_> = grades.versions.iter().filter(|(share, _)| share_permille(*share) > 0).collect();
            let sound = grades.routing == Full
                && !versions.is_empty()
                && versions.iter().all(|(_, grade)| *grade == Full)
                && grades.dependencies.iter().all(|grade| *grade == Full);
            prop_assert_eq!(score(&grades).value == 100, sound);
        }
    }
}
