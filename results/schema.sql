-- The tables of the results database, schema version 1; schema_2.sql brings them to version 2. Tables are named in the
-- singular and may change with the schema version; the views of views.sql are named in the plural and stay. Every
-- column: docs/database.md.

-- Who may write. One row; `generation` grows with every owner and fences off those before.
CREATE TABLE writer (
  id           INTEGER PRIMARY KEY CHECK (id = 1),
  generation   INTEGER NOT NULL,
  held         INTEGER NOT NULL CHECK (held IN (0, 1)),
  host         TEXT NOT NULL,
  pid          INTEGER NOT NULL,
  process      TEXT NOT NULL,  -- boot, pid namespace and start time: tells a process from a later one of the same pid
  started_at   TEXT NOT NULL,
  heartbeat_at TEXT NOT NULL
) STRICT;
INSERT INTO writer VALUES (1, 0, 0, '', 0, '', '', '');

-- One start of squant-sweep.
CREATE TABLE run (
  run_id          INTEGER PRIMARY KEY,
  uuid            TEXT NOT NULL UNIQUE,  -- recognizes the run in other databases
  experiment_name TEXT NOT NULL,
  experiment_path TEXT NOT NULL,
  experiment_json TEXT NOT NULL,
  command_line    TEXT NOT NULL,
  git_commit      TEXT NOT NULL,
  git_dirty       INTEGER NOT NULL CHECK (git_dirty IN (0, 1)),
  version         TEXT NOT NULL,
  compiler        TEXT NOT NULL,
  libraries       TEXT NOT NULL,
  host            TEXT NOT NULL,
  user            TEXT NOT NULL,
  slurm_job       TEXT NOT NULL,
  world_size      INTEGER NOT NULL,
  started_at      TEXT NOT NULL,
  finished_at     TEXT,     -- NULL while it runs or after it died
  exit_code       INTEGER   -- NULL while it runs or after it died
) STRICT;

CREATE TABLE worker (
  run_id      INTEGER NOT NULL REFERENCES run,
  rank        INTEGER NOT NULL,
  host        TEXT NOT NULL,
  pid         INTEGER NOT NULL,
  device      TEXT NOT NULL,
  device_name TEXT NOT NULL,
  device_uuid TEXT NOT NULL,
  driver      TEXT NOT NULL,
  num_threads INTEGER NOT NULL,
  PRIMARY KEY (run_id, rank)
) STRICT, WITHOUT ROWID;

-- Everything that decides the logits of an image: tiles are stored under it and shared by jobs of any number of images.
CREATE TABLE evaluation (
  evaluation_id       INTEGER PRIMARY KEY,
  evaluation          TEXT NOT NULL UNIQUE,  -- hex SHA-256
  model               TEXT NOT NULL,
  bits                TEXT NOT NULL,
  weight_bits         INTEGER NOT NULL,
  activation_bits     INTEGER NOT NULL,
  mode                TEXT NOT NULL,
  rounding            TEXT NOT NULL,
  sigma               REAL NOT NULL,
  calibration_images  INTEGER NOT NULL,
  engine              TEXT NOT NULL,
  checkpoint_sha256   TEXT NOT NULL,
  checkpoint_note     TEXT NOT NULL,
  dataset_name        TEXT NOT NULL,
  dataset_fingerprint TEXT NOT NULL,
  dataset_size        INTEGER NOT NULL,      -- images of the whole data set; 0: unknown
  numerics_version    INTEGER NOT NULL
) STRICT;
CREATE INDEX evaluation_by_cell ON evaluation (model, bits, mode);
CREATE INDEX evaluation_by_input ON evaluation (checkpoint_sha256, dataset_fingerprint);

-- An evaluation on the first `num_images` images. Its tiles start at multiples of `chunk`, and the last one may be
-- short. A job of 0 images is quantized and timed only.
CREATE TABLE job (
  job_id        INTEGER PRIMARY KEY,
  identity      TEXT NOT NULL UNIQUE,        -- hex SHA-256
  evaluation_id INTEGER NOT NULL REFERENCES evaluation,
  num_images    INTEGER NOT NULL CHECK (num_images >= 0),
  chunk         INTEGER NOT NULL CHECK (chunk > 0 OR num_images = 0),
  config_json   TEXT NOT NULL
) STRICT;
CREATE INDEX job_by_evaluation ON job (evaluation_id);

-- The sum of a job's tiles. Derived from `tile`, written in the same transaction, checked by `squant-results doctor`.
CREATE TABLE total (
  job_id       INTEGER PRIMARY KEY REFERENCES job,
  num_tiles    INTEGER NOT NULL,
  num_images   INTEGER NOT NULL,
  num_top1     INTEGER NOT NULL,
  num_top5     INTEGER NOT NULL,
  num_broken   INTEGER NOT NULL,
  digest       TEXT,      -- 32 hex digits; each half is the sum of the tiles' modulo 2^64; NULL: some tile has none
  compute_ms   REAL NOT NULL,
  ci_low_pct   REAL NOT NULL,
  ci_high_pct  REAL NOT NULL,
  completed_at TEXT       -- when the last tile (of 0 images: the preparation) finished; NULL: something is missing
) STRICT;

-- A job as part of a run: what it is compared with there, and how that ended once the job was complete.
CREATE TABLE run_job (
  job_id                 INTEGER NOT NULL REFERENCES job,
  run_id                 INTEGER NOT NULL REFERENCES run,
  checkpoint_path        TEXT NOT NULL,
  reference_top1_pct     REAL,
  tolerance              REAL,
  reference_source       TEXT,
  reference_baseline_pct REAL,
  verdict                TEXT,  -- NULL: the job is not complete
  verdict_text           TEXT,
  judged_at              TEXT,
  PRIMARY KEY (job_id, run_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_job_by_run ON run_job (run_id);

-- What quantizing and calibrating gave, once per evaluation.
CREATE TABLE preparation (
  evaluation_id INTEGER PRIMARY KEY REFERENCES evaluation,
  run_id        INTEGER NOT NULL,
  rank          INTEGER NOT NULL,
  ranges_json   TEXT NOT NULL,
  quantize_ms   REAL NOT NULL,
  calibrate_ms  REAL NOT NULL,
  num_weights   INTEGER NOT NULL,
  finished_at   TEXT NOT NULL,
  FOREIGN KEY (run_id, rank) REFERENCES worker
) STRICT;

CREATE TABLE layer (
  evaluation_id     INTEGER NOT NULL REFERENCES preparation ON DELETE CASCADE,
  layer             INTEGER NOT NULL,
  name              TEXT NOT NULL,
  out_channels      INTEGER NOT NULL,
  in_channels       INTEGER NOT NULL,
  kernel_size       INTEGER NOT NULL,
  quantize_ms       REAL NOT NULL,
  squared_error     REAL NOT NULL,
  max_kernel_error  REAL NOT NULL,
  max_channel_error REAL NOT NULL,
  range_min         REAL NOT NULL,
  range_max         REAL NOT NULL,
  sum_bound         REAL NOT NULL,
  kernel_kind       TEXT NOT NULL,
  PRIMARY KEY (evaluation_id, layer)
) STRICT, WITHOUT ROWID;

-- The counts of one evaluation on images [first, first + count).
CREATE TABLE tile (
  evaluation_id INTEGER NOT NULL REFERENCES evaluation,
  first         INTEGER NOT NULL CHECK (first >= 0),
  count         INTEGER NOT NULL CHECK (count > 0),
  num_top1      INTEGER NOT NULL CHECK (num_top1 BETWEEN 0 AND count),
  num_top5      INTEGER NOT NULL CHECK (num_top5 BETWEEN num_top1 AND count),
  num_broken    INTEGER NOT NULL CHECK (num_broken BETWEEN 0 AND count),
  digest        TEXT CHECK (length(digest) = 32),
  run_id        INTEGER NOT NULL,
  rank          INTEGER NOT NULL,
  compute_ms    REAL NOT NULL,
  load_ms       REAL NOT NULL,
  finished_at   TEXT NOT NULL,
  PRIMARY KEY (evaluation_id, first, count),
  FOREIGN KEY (run_id, rank) REFERENCES worker
) STRICT, WITHOUT ROWID;

CREATE TABLE failure (
  failure_id INTEGER PRIMARY KEY,
  job_id     INTEGER NOT NULL REFERENCES job,
  run_id     INTEGER NOT NULL REFERENCES run,
  rank       INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  log_tail   TEXT NOT NULL,
  failed_at  TEXT NOT NULL,
  cleared_at TEXT             -- NULL: it stands; else a later run made progress, or the job was completed or forgotten
) STRICT;
CREATE INDEX failure_by_job ON failure (job_id) WHERE cleared_at IS NULL;
