/*
 * number.c
 *	  Numbers as text.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fsi_base.h"

void
fsi_number_text(double x, bool is_float, char out[FSI_NUMBER_BYTES])
{
	for (int digits = 6; digits <= 17; digits++)
	{
		double		back;

		snprintf(out, FSI_NUMBER_BYTES, "%.*g", digits, x);
		back = strtod(out, NULL);
		if (is_float ? (float) back == (float) x : back == x)
			break;
	}
}
