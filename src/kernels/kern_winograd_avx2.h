/*
 * kern_winograd_avx2.h
 *	  int8 GEMM for many rows with half the multiplications; included by kern_ops_avx2.c.
 *
 * Winograd's inner product (IEEE Trans. Computers C-17, 1968), for each pair of inputs:
 *
 *	x0 w0 + x1 w1 = (x0 + w1) (x1 + w0) - x0 x1 - w0 w1
 *
 * The last two products depend on the row alone and on the column alone.  The sums have 10
 * bits, so one vpmaddwd multiplies what 32 multiply-adds need, after two vpaddw and before
 * one vpaddd; widening alone, or vpmaddubsw with |w|, take four operations as well, but two
 * of them multiplications, of which Zen 3 has two a cycle and of additions four.  All is
 * int32 modulo 2^32: the exact sum fits, so the result is the exact sum.
 *
 * Inputs 4i .. 4i+3 are x0 x1 x0' x1'; "even" holds (x0, x0') as two 16-bit numbers, "odd"
 * (x1, x1').  Both sides are widened into scratch, the weights again for each block of rows.
 */
#ifndef KERN_WINOGRAD_AVX2_H
#define KERN_WINOGRAD_AVX2_H

#define WIDE_FROM 8				/* rows from which widening the weights pays */
#define WIDE_ROWS 128
#define WIDE_TILE 4				/* rows of the tile: 8 sums + 4 weights + 2 inputs + 2 for their sums fill 16 registers */
#define WIDE_QUADS 96			/* of weights at a time: 12 KB of the L1 cache */

typedef struct Wide
{
	int16_t		weights[WIDE_QUADS][4][16]; /* of one panel: even, odd of channels 0-7, then of 8-15 */
	int32_t		acc[WIDE_ROWS][KERN_PANEL];
	int32_t		minus[KERN_PANEL];			/* what the columns' own products in weights, and comp, take away */
	int32_t		row_minus[WIDE_ROWS];		/* the rows' own products */
	uint32_t	rows[];		/* tile after tile: [k4][rows of the tile]{even, odd} */
} Wide;

#define WIDE_ROOM ((KERN_GEMM_SCRATCH - sizeof(Wide)) / sizeof(uint32_t))

/* Rows of a tile side by side; row_minus of each. */
static void
widen_rows(int rows, const uint8_t *q, int ldq, int k4, uint32_t *out, int32_t *row_minus)
{
	const __m256i low = _mm256_set1_epi32(0x00ff00ff);

	for (int r = 0; r < rows; r++, q += ldq, out += 2)
	{
		__m256i		sum = _mm256_setzero_si256();
		int32_t		part[8],
					total = 0;
		int			i = 0;

		for (; i + 8 <= k4; i += 8)
		{
			__m256i		x = _mm256_loadu_si256((const __m256i *) (q + KERN_QUAD * i));
			__m256i		even = _mm256_and_si256(x, low);
			__m256i		odd = _mm256_srli_epi16(x, 8);
			__m256i		lo = _mm256_unpacklo_epi32(even, odd);	/* quads 0 1 4 5 */
			__m256i		hi = _mm256_unpackhi_epi32(even, odd);	/* quads 2 3 6 7 */
			uint32_t   *to = out + (size_t) i * rows * 2;

			sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, odd));
			_mm_storel_epi64((__m128i *) to, _mm256_castsi256_si128(lo));
			_mm_storeh_pd((double *) (to + rows * 2), _mm256_castpd256_pd128(_mm256_castsi256_pd(lo)));
			_mm_storel_epi64((__m128i *) (to + rows * 4), _mm256_castsi256_si128(hi));
			_mm_storeh_pd((double *) (to + rows * 6), _mm256_castpd256_pd128(_mm256_castsi256_pd(hi)));
			lo = _mm256_permute4x64_epi64(lo, 0x4e);
			hi = _mm256_permute4x64_epi64(hi, 0x4e);
			_mm_storel_epi64((__m128i *) (to + rows * 8), _mm256_castsi256_si128(lo));
			_mm_storeh_pd((double *) (to + rows * 10), _mm256_castpd256_pd128(_mm256_castsi256_pd(lo)));
			_mm_storel_epi64((__m128i *) (to + rows * 12), _mm256_castsi256_si128(hi));
			_mm_storeh_pd((double *) (to + rows * 14), _mm256_castpd256_pd128(_mm256_castsi256_pd(hi)));
		}
		_mm256_storeu_si256((__m256i *) part, sum);
		for (int j = 0; j < 8; j++)
			total += part[j];
		for (; i < k4; i++)
		{
			const uint8_t *x = q + KERN_QUAD * i;

			out[(size_t) i * rows * 2] = x[0] | (uint32_t) x[2] << 16;
			out[(size_t) i * rows * 2 + 1] = x[1] | (uint32_t) x[3] << 16;
			total += x[0] * x[1] + x[2] * x[3];
		}
		row_minus[r] = total;
	}
}

/* k4 <= WIDE_QUADS quads of a panel, and their own products on top of comp (or of 0). */
static void
widen_weights(const int8_t *w, const int32_t *comp, int k4, Wide *wide)
{
	__m256i		minus[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};

	for (int h = 0; comp != NULL && h < 2; h++)
		minus[h] = _mm256_loadu_si256((const __m256i *) (comp + 8 * h));
	for (int i = 0; i < k4; i++, w += KERN_STEP_BYTES)
	{
		KERN_UNROLL
		for (int h = 0; h < 2; h++)
		{
			__m256i		b = _mm256_loadu_si256((const __m256i *) (w + 32 * h));
			__m256i		even = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8);
			__m256i		odd = _mm256_srai_epi16(b, 8);

			minus[h] = _mm256_add_epi32(minus[h], _mm256_madd_epi16(even, odd));
			_mm256_store_si256((__m256i *) wide->weights[i][2 * h], even);
			_mm256_store_si256((__m256i *) wide->weights[i][2 * h + 1], odd);
		}
	}
	for (int h = 0; h < 2; h++)
		_mm256_storeu_si256((__m256i *) (wide->minus + 8 * h), minus[h]);
}

/* acc[r][channel] += sums of rows x 1 panel over k4 quads; the first ones begin it. */
KERN_INLINE void
wide_tile(const int rows, const Wide *wide, bool first, const int32_t *row_minus, const uint32_t *x, int k4,
		  int32_t (*acc)[KERN_PANEL])
{
	const int16_t (*w)[4][16] = wide->weights;
	__m256i		sum[WIDE_TILE][2];

	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int h = 0; h < 2; h++)
			sum[r][h] = _mm256_sub_epi32(first ? _mm256_set1_epi32(-row_minus[r]) :
				_mm256_load_si256((const __m256i *) (acc[r] + 8 * h)),
				_mm256_load_si256((const __m256i *) (wide->minus + 8 * h)));
	}
	KERN_UNROLL_TWICE
	for (int i = 0; i < k4; i++, w++, x += 2 * rows)
	{
		__m256i		even[2],
					odd[2];

		KERN_UNROLL
		for (int h = 0; h < 2; h++)
		{
			even[h] = _mm256_load_si256((const __m256i *) (*w)[2 * h]);
			odd[h] = _mm256_load_si256((const __m256i *) (*w)[2 * h + 1]);
		}
		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			__m256i		x_even = _mm256_set1_epi32((int32_t) x[2 * r]),
						x_odd = _mm256_set1_epi32((int32_t) x[2 * r + 1]);

			KERN_UNROLL
			for (int h = 0; h < 2; h++)
				sum[r][h] = _mm256_add_epi32(sum[r][h],
					_mm256_madd_epi16(_mm256_add_epi16(x_even, odd[h]), _mm256_add_epi16(x_odd, even[h])));
		}
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int h = 0; h < 2; h++)
			_mm256_store_si256((__m256i *) (acc[r] + 8 * h), sum[r][h]);
	}
}

#define TILE(rows) \
	static void wide_tile_##rows(const Wide *wide, bool first, const int32_t *row_minus, const uint32_t *x, int k4, \
								 int32_t (*acc)[KERN_PANEL]) \
	{ wide_tile(rows, wide, first, row_minus, x, k4, acc); }

TILE(1) TILE(2) TILE(3) TILE(4)
#undef TILE

static void (*const wide_tiles[]) (const Wide *, bool, const int32_t *, const uint32_t *, int, int32_t (*)[KERN_PANEL]) =
	{NULL, wide_tile_1, wide_tile_2, wide_tile_3, wide_tile_4};

/* Rows of the tile that begins at row i of m: nearly equal heights, the last is not a thin rest. */
KERN_INLINE int
wide_tile_rows(int m, int i)
{
	int			tiles = (m - i + WIDE_TILE - 1) / WIDE_TILE;

	return (m - i) / tiles;
}

/*
 * acc of one panel for m widened rows, tile after tile.  Fetched on the way: the next weights, and the places of y where
 * the result goes, a line a row, which the CPU does not foresee.
 */
static void
wide_panel(int m, Wide *wide, const int8_t *w, const int32_t *comp, int k4, const float *y, int ldy)
{
	for (int k = 0, quads; k < k4; k += quads)
	{
		const int8_t *next;		/* what is widened after these: the next panel follows this one */
		int			ahead = (m + WIDE_TILE - 1) / WIDE_TILE;

		quads = k4 - k < WIDE_QUADS ? k4 - k : WIDE_QUADS;
		next = w + (size_t) (k + quads) * KERN_STEP_BYTES;
		ahead = (WIDE_QUADS + ahead - 1) / ahead;
		widen_weights(w + (size_t) k * KERN_STEP_BYTES, k == 0 ? comp : NULL, quads, wide);
		for (int i = 0, rows; i < m; i += rows)
		{
			rows = wide_tile_rows(m, i);
			for (int j = 0; j < ahead; j++, next += KERN_STEP_BYTES)
				_mm_prefetch((const char *) next, _MM_HINT_T0);
			for (int r = i; k + quads == k4 && r < i + rows; r++)
				__builtin_prefetch(y + (size_t) r * ldy, 1);
			wide_tiles[rows] (wide, k == 0, wide->row_minus + i, wide->rows + 2 * ((size_t) i * k4 + (size_t) k * rows),
							  quads, wide->acc + i);
		}
	}
}

static void
gemm_i8(int m, const uint8_t *q, int ldq, const KernCode *code, const KernMatrix *w, const float *bias,
		KernAct act, bool residual, float *y, int ldy, void *scratch)
{
	Wide	   *wide = scratch;
	int			k4 = KERN_ROUND_UP(w->k, KERN_QUAD) / KERN_QUAD;
	int			most = WIDE_ROOM / (2 * k4) < WIDE_ROWS ? (int) (WIDE_ROOM / (2 * k4)) : WIDE_ROWS;
	int			blocks = most < WIDE_FROM ? 0 : (m + most - 1) / most;

	if (m < WIDE_FROM || blocks == 0)
	{
		gemm_in_place(m, q, ldq, code, w, bias, act, residual, y, ldy);
		return;
	}
	for (int b = 0, i = 0; b < blocks; b++)
	{
		int			n_row = (m - i) / (blocks - b);

		for (int r = 0, rows; r < n_row; r += rows)
		{
			rows = wide_tile_rows(n_row, r);
			widen_rows(rows, q + (size_t) (i + r) * ldq, ldq, k4, wide->rows + 2 * (size_t) r * k4, wide->row_minus + r);
		}
		for (int col = 0; col < w->n; col += KERN_PANEL)
		{
			wide_panel(n_row, wide, w->panels + (size_t) col * k4 * KERN_QUAD, w->comp + col, k4,
					   y + (size_t) i * ldy + col, ldy);
			tile_finish(n_row, 1, wide->acc[0], code + i, w, col, bias, act, residual, y + (size_t) i * ldy, ldy);
		}
		i += n_row;
	}
}

#endif
