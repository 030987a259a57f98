-- Input and output do not depend on the locale

-- a locale with a decimal comma, where the machine has one
DO $$
DECLARE
	locale text;
BEGIN
	FOREACH locale IN ARRAY ARRAY['de_DE.UTF-8', 'fr_FR.UTF-8', 'de_DE', 'C'] LOOP
		BEGIN
			PERFORM set_config('lc_numeric', locale, false);
			EXIT;
		EXCEPTION WHEN invalid_parameter_value THEN
			NULL;
		END;
	END LOOP;
END
$$;
SELECT '[1.5,2.5]'::vector, '[1.5]'::halfvec, '{1:1.5}/2'::sparsevec, '[1,5]'::vector;
SELECT ARRAY[1.5]::numeric[]::vector;

-- white space is that of SQL, not of the locale
SELECT U&'[1,\000B2,\000C3]'::vector;
SELECT U&'[1,\00A02]'::vector;
