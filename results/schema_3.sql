-- From schema version 2 to 3: on which device SQuant's time was taken. What earlier versions did not keep is NULL.
-- "cpu", "cuda", or "cuda, cpu" where some layers were quantized here and some there; NULL for float weights, too.
ALTER TABLE preparation ADD COLUMN quantize_device TEXT;
