"""The ledger's tables. Rows are added and stay: what happened to an exposure is a row of its own.

A ledger of version n has the tables of the first n of `VERSIONS`. A new one is made by all of them, an
older one brought up to date by those that it lacks, and its rows stay as they are.

Times are UTC, ISO 8601 in one width, so that text order is time order. Positions are
(row, column) of the probe in micrometres: of the stage in ``exposures`` and ``outcomes``, of the
sample in ``marks`` and ``regions``.
"""

FIRST_VERSION = (
    """
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY,
        lock TEXT NOT NULL UNIQUE,      -- name of its lock file, see session.py
        host TEXT NOT NULL,
        process INTEGER NOT NULL,
        opened_utc TEXT NOT NULL
    )""",
    """
    CREATE TABLE mountings (
        id INTEGER PRIMARY KEY,
        sample TEXT NOT NULL,
        mounted_utc TEXT NOT NULL,
        located_utc TEXT,               -- when the marks were found; until then the rest is unknown
        cosine REAL, sine REAL,         -- of the angle from stage to sample axes
        shift_row_um REAL, shift_column_um REAL,
        residual_um REAL
    )""",
    """
    CREATE TABLE marks (
        sample TEXT NOT NULL,
        name TEXT NOT NULL,
        row_um REAL NOT NULL, column_um REAL NOT NULL,
        PRIMARY KEY (sample, name)
    )""",
    """
    CREATE TABLE regions (
        id INTEGER PRIMARY KEY,
        sample TEXT NOT NULL,
        area TEXT NOT NULL,
        name TEXT NOT NULL,
        row_um REAL NOT NULL, column_um REAL NOT NULL,
        reach_um REAL NOT NULL,
        placed_utc TEXT NOT NULL,
        UNIQUE (sample, area, name)
    )""",
    """
    CREATE TABLE budgets (
        id INTEGER PRIMARY KEY,         -- a region's latest one holds
        region INTEGER NOT NULL REFERENCES regions,
        dose REAL NOT NULL,             -- in gray
        material TEXT NOT NULL,
        formula TEXT NOT NULL,
        set_utc TEXT NOT NULL
    )""",
    """
    CREATE TABLE exposures (
        id INTEGER PRIMARY KEY,
        session INTEGER NOT NULL REFERENCES sessions,
        mounting INTEGER NOT NULL REFERENCES mountings,
        region INTEGER REFERENCES regions,
        run_uid TEXT NOT NULL,
        point INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        kind TEXT NOT NULL,
        repeat INTEGER,
        intended_utc TEXT NOT NULL,
        start_row_um REAL NOT NULL, start_column_um REAL NOT NULL,
        end_row_um REAL NOT NULL, end_column_um REAL NOT NULL,
        open_s REAL NOT NULL,
        photons_at_most REAL NOT NULL,
        energy_eV REAL NOT NULL,
        monitor TEXT NOT NULL,
        gain REAL NOT NULL,
        calibration TEXT NOT NULL,
        calibrated_utc TEXT NOT NULL,
        UNIQUE (run_uid, point, attempt)
    )""",
    "CREATE INDEX exposures_of_session ON exposures (session)",
    "CREATE INDEX exposures_of_mounting ON exposures (mounting)",
    """
    CREATE TABLE outcomes (
        exposure INTEGER PRIMARY KEY REFERENCES exposures,
        status TEXT NOT NULL CHECK (status IN ('done', 'withdrawn')),
        settled_utc TEXT NOT NULL,
        opened_utc TEXT, closed_utc TEXT,
        start_row_um REAL, start_column_um REAL,    -- where left out, as intended
        end_row_um REAL, end_column_um REAL,
        open_s REAL,
        photons REAL NOT NULL,
        photons_uncertainty REAL NOT NULL,
        reason TEXT
    )""",
)

RUNS_AND_ENDS = (
    """
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        uid TEXT NOT NULL UNIQUE,
        session INTEGER NOT NULL REFERENCES sessions,
        mounting INTEGER NOT NULL REFERENCES mountings,
        region INTEGER NOT NULL REFERENCES regions,
        kind TEXT NOT NULL,
        repeat INTEGER,
        scan TEXT NOT NULL,             -- a Scan as JSON: every point of it, and how it is exposed
        points TEXT NOT NULL,           -- numbers of the scan's points that this run is to expose, as JSON
        begun_utc TEXT NOT NULL
    )""",
    "CREATE INDEX runs_of_repeat ON runs (region, kind, repeat)",
    """
    CREATE TABLE ends (
        id INTEGER PRIMARY KEY,
        region INTEGER NOT NULL REFERENCES regions,
        kind TEXT, repeat INTEGER,      -- of a complete repeat; a region closes as a whole
        what TEXT NOT NULL CHECK (what IN ('complete', 'closed', 'reopened')),
        reason TEXT NOT NULL,
        run_uid TEXT,
        ended_utc TEXT NOT NULL
    )""",
    "CREATE INDEX ends_of_region ON ends (region)",
    # Of an exposure that is done; the first version did not ask, and kept whole runs.
    """
    ALTER TABLE outcomes ADD COLUMN frame TEXT NOT NULL DEFAULT 'saved'
        CHECK (frame IN ('saved', 'lost', 'none'))""",
)

SERIES = (
    """
    CREATE TABLE series (
        region INTEGER PRIMARY KEY REFERENCES regions,
        uid TEXT NOT NULL,              -- of all the regions that are measured together
        joined_utc TEXT NOT NULL
    )""",
)

CALIBRATION_SIGMA = (
    # Relative, of the flux calibration; NULL where it was not asked for.
    "ALTER TABLE exposures ADD COLUMN calibration_sigma REAL",
)

VERSIONS = (FIRST_VERSION, (*RUNS_AND_ENDS, *SERIES, *CALIBRATION_SIGMA))

COUNTED = """
    CREATE TEMP VIEW counted AS
    WITH latest AS (
        SELECT e.*, m.sample, m.cosine, m.sine, m.shift_row_um, m.shift_column_um,
            o.photons, o.photons_uncertainty, o.frame, o.reason, o.opened_utc, o.closed_utc,
            coalesce(o.open_s, e.open_s) AS opened_s,
            coalesce(o.start_row_um, e.start_row_um) AS row_1,
            coalesce(o.start_column_um, e.start_column_um) AS column_1,
            coalesce(o.end_row_um, e.end_row_um) AS row_2,
            coalesce(o.end_column_um, e.end_column_um) AS column_2,
            CASE
                WHEN o.status IS NOT NULL THEN o.status
                WHEN e.intended_utc = (
                        SELECT intended_utc FROM exposures WHERE session = e.session ORDER BY id DESC LIMIT 1)
                    AND is_alive(s.lock) THEN 'under way'
                ELSE 'uncertain'
            END AS status
        FROM exposures AS e
        JOIN sessions AS s ON s.id = e.session
        JOIN mountings AS m ON m.id = e.mounting
        LEFT JOIN outcomes AS o ON o.exposure = e.id
    )
    SELECT id, session, sample, region, run_uid, point, attempt, kind, repeat, status, reason,
        CASE status WHEN 'done' THEN frame ELSE '' END AS frame,
        cosine * row_1 - sine * column_1 + shift_row_um AS start_row_um,
        sine * row_1 + cosine * column_1 + shift_column_um AS start_column_um,
        cosine * row_2 - sine * column_2 + shift_row_um AS end_row_um,
        sine * row_2 + cosine * column_2 + shift_column_um AS end_column_um,
        intended_utc, opened_utc, closed_utc, opened_s AS open_s,
        coalesce(photons, photons_at_most) AS photons,
        coalesce(photons_uncertainty, photons_at_most) AS photons_uncertainty,
        energy_eV, monitor, calibration, calibrated_utc, calibration_sigma
    FROM latest"""
"""Exposures as they count, along the axes of their sample: as done, or as they were intended where
nobody confirmed them; ``NULL`` positions where the sample has been remounted and not found again."""
