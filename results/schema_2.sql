-- From schema version 1 to 2: what each layer's stages did, outcomes by image, the data sets' labels and class names.
-- What version 1 did not keep is NULL.

-- After rounding alone (E), and after SQuant-K where the mode has it. The columns without a suffix are after the
-- mode's last stage.
ALTER TABLE layer ADD COLUMN squared_error_e REAL;
ALTER TABLE layer ADD COLUMN max_kernel_error_e REAL;
ALTER TABLE layer ADD COLUMN max_channel_error_e REAL;
ALTER TABLE layer ADD COLUMN squared_error_k REAL;
ALTER TABLE layer ADD COLUMN max_kernel_error_k REAL;
ALTER TABLE layer ADD COLUMN max_channel_error_k REAL;
-- The share of the layer's inputs, when its range was measured, that the range clamps at either end.
ALTER TABLE layer ADD COLUMN saturated_low REAL;
ALTER TABLE layer ADD COLUMN saturated_high REAL;

-- A letter an image: '1' right with the first guess, '5' within five guesses, '0' wrong, 'x' could not be decoded.
-- Text, so that plain SQL can ask it.
ALTER TABLE tile ADD COLUMN outcomes TEXT
  CHECK (length(outcomes) = count AND length(replace(outcomes, '1', '')) = count - num_top1
         AND length(replace(replace(outcomes, '1', ''), '5', '')) = count - num_top5
         AND length(replace(outcomes, 'x', '')) = count - num_broken);

-- The class that a tile's job gave each of its images, on request: a JSON array, null where no logit is a number or
-- the image could not be decoded.
CREATE TABLE prediction (
  evaluation_id INTEGER NOT NULL,
  first         INTEGER NOT NULL,
  count         INTEGER NOT NULL,
  classes       TEXT NOT NULL,
  PRIMARY KEY (evaluation_id, first, count),
  FOREIGN KEY (evaluation_id, first, count) REFERENCES tile ON DELETE CASCADE
) STRICT;  -- with a rowid: such long rows would each take a page of their own in an index

CREATE TABLE dataset (
  dataset_id  INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE class (
  dataset_id INTEGER NOT NULL REFERENCES dataset,
  class      INTEGER NOT NULL CHECK (class >= 0),
  name       TEXT NOT NULL,  -- WNID, or what the data set's makers call it
  PRIMARY KEY (dataset_id, class)
) STRICT, WITHOUT ROWID;

-- The true class of each image that a job has asked for.
CREATE TABLE label (
  dataset_id INTEGER NOT NULL REFERENCES dataset,
  image      INTEGER NOT NULL CHECK (image >= 0),
  class      INTEGER NOT NULL CHECK (class >= 0),
  PRIMARY KEY (dataset_id, image)
) STRICT, WITHOUT ROWID;

-- A complete job's sums by true class. Derived from the outcomes of its tiles and the labels in the transaction that
-- completes the job, gone when it is complete no more, checked by `squant-results doctor`.
CREATE TABLE class_total (
  job_id     INTEGER NOT NULL REFERENCES job,
  class      INTEGER NOT NULL,
  num_images INTEGER NOT NULL CHECK (num_images > 0),
  num_top1   INTEGER NOT NULL CHECK (num_top1 BETWEEN 0 AND num_top5),
  num_top5   INTEGER NOT NULL CHECK (num_top5 <= num_images),
  PRIMARY KEY (job_id, class)
) STRICT, WITHOUT ROWID;
