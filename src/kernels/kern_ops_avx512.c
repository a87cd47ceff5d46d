/*
 * kern_ops_avx512.c
 *	  The AVX-512 VNNI level: vpdpbusd, one panel step a zmm.
 */
#include "kern_internal.h"
#include "kern_vec_avx512.h"

#define KERN_CHAINS 4			/* quantize: sums side by side */
#define KERN_NORM_ROWS 4		/* layer norm: rows side by side */
#define KERN_VECTORS 8			/* gemv_f32: accumulators side by side */
#define KERN_KEY_VECTORS 2		/* attend: vectors of keys a pass */
#define KERN_VALUE_VECTORS 4	/* attend: vectors of values a pass, 4 queries each */
#define KERN_ATTEND_BLOCK 8		/* attend: queries of one sequence side by side */

#include "kern_math.h"
#include "kern_transpose_avx.h"
#include "kern_rows.h"
#include "kern_attend.h"

#define TILE_ROWS 6				/* 24 accumulators, a step's 4 panels and a row fit 32 registers */
#define TILE_PANELS 4
#define TALL_ROWS 14			/* 28, 2 and 1: so few rows pass at once, and each weight is read once */
#define TALL_PANELS 2

/* Weights that a tile fetches on the way. */
typedef enum TileFetch
{
	FETCH_NONE,
	FETCH_STREAM,				/* those that it will come to itself, STREAM_BYTES from where it is */
	FETCH_NEXT					/* those that other tiles will come to */
} TileFetch;

#define STREAM_BYTES 1024

typedef struct TileIn
{
	const uint8_t *q;
	int			ldq,
				k4;
	const int8_t *w;
	const int32_t *comp;
	ptrdiff_t	ahead[2];		/* FETCH_NEXT: bytes from each weight used to those fetched meanwhile; 0: none more */
} TileIn;

/* What becomes of a tile's sums: they are stored, or finished in registers. */
typedef struct TileOut
{
	int32_t    *acc;			/* [row * panels + panel][channel], or NULL: */
	const KernCode *code;		/* y of gemm_i8(), from the sums of these rows, */
	const int32_t *comp;		/* and of these columns */
	const float *wscale,
			   *bias;
	bool		residual;
	float	   *y;
	int			ldy;
} TileOut;

/*
 * rows x panels accumulators; each step loads a zmm of every panel and broadcasts four
 * activations of every row.
 */
KERN_INLINE void
tile(const int rows, const int panels, const TileFetch fetch, const TileIn *in, const TileOut *out)
{
	__m512i		sum[TALL_ROWS][TILE_PANELS];
	size_t		panel = (size_t) in->k4 * KERN_STEP_BYTES,
				ldq = (size_t) in->ldq;
	const int8_t *w = in->w,
			   *end = w + panel;
	const uint8_t *q[(TALL_ROWS + 2) / 3];	/* of every third row: from there ldq and its double reach the others */

	KERN_UNROLL
	for (int r = 0; r < rows; r += 3)
	{
		q[r / 3] = in->q + r * ldq;
		__asm__("" : "+r" (q[r / 3]));	/* else the compiler keeps an address a row, in vector registers */
	}
	KERN_UNROLL
	for (int r = 0; r < rows; r++)
	{
		KERN_UNROLL
		for (int p = 0; p < panels; p++)
			sum[r][p] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(in->comp + p * KERN_PANEL));
	}
	for (; w < end; w += KERN_STEP_BYTES)
	{
		__m512i		b[TILE_PANELS];

		if (fetch == FETCH_NEXT)
		{
			_mm_prefetch((const char *) w + in->ahead[0], _MM_HINT_T1);
			_mm_prefetch((const char *) w + in->ahead[1], _MM_HINT_T1);
		}
		KERN_UNROLL
		for (int p = 0; p < panels; p++)
		{
			b[p] = _mm512_loadu_si512(w + p * panel);
			if (fetch == FETCH_STREAM)
				_mm_prefetch((const char *) w + p * panel + STREAM_BYTES, _MM_HINT_T0);
		}
		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			__m512i		a = _mm512_set1_epi32(*(const int32_t *) (q[r / 3] + r % 3 * ldq));

			KERN_UNROLL
			for (int p = 0; p < panels; p++)
				sum[r][p] = _mm512_dpbusd_epi32(sum[r][p], a, b[p]);
		}
		KERN_UNROLL
		for (int r = 0; r < rows; r += 3)
			q[r / 3] += KERN_QUAD;
	}
	if (out->acc != NULL)
	{
		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			KERN_UNROLL
			for (int p = 0; p < panels; p++)
				_mm512_storeu_si512(out->acc + (r * panels + p) * KERN_PANEL, sum[r][p]);
		}
		return;
	}
	KERN_UNROLL
	for (int p = 0; p < panels; p++)
	{
		v16			wscale = v_load(out->wscale + p * KERN_PANEL);
		v16			bias = out->bias != NULL ? v_load(out->bias + p * KERN_PANEL) : v_set(0.0f);
		__m512i		wsum = v_column_sums(out->comp + p * KERN_PANEL);

		KERN_UNROLL
		for (int r = 0; r < rows; r++)
		{
			float	   *y = out->y + (size_t) r * out->ldy + p * KERN_PANEL;
			v16			x = v_dot_float(sum[r][p], out->code[r].zero, wsum);

			x = v_fma(x, v_mul(v_set(out->code[r].scale), wscale), bias);
			if (out->residual)
				x = v_add(v_load(y), x);
			v_store(y, x);
		}
	}
}

typedef void (*TileFn) (const TileIn *in, const TileOut *out);

#define TILE(rows) \
	static void tile_##rows##x1(const TileIn *in, const TileOut *out) { tile(rows, 1, FETCH_NONE, in, out); } \
	static void tile_##rows##x4(const TileIn *in, const TileOut *out) { tile(rows, 4, FETCH_STREAM, in, out); } \
	static void tile_##rows##x4_next(const TileIn *in, const TileOut *out) { tile(rows, 4, FETCH_NEXT, in, out); }
#define TALL_TILE(rows) \
	static void tile_##rows##x1(const TileIn *in, const TileOut *out) { tile(rows, 1, FETCH_NONE, in, out); } \
	static void tile_##rows##x2(const TileIn *in, const TileOut *out) { tile(rows, 2, FETCH_STREAM, in, out); }

TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
TALL_TILE(7) TALL_TILE(8) TALL_TILE(9) TALL_TILE(10) TALL_TILE(11) TALL_TILE(12) TALL_TILE(13) TALL_TILE(14)
#undef TILE
#undef TALL_TILE

static const TileFn tiles[TILE_PANELS + 1][TALL_ROWS + 1] = {
	[1] = {NULL, tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1, tile_7x1,
		tile_8x1, tile_9x1, tile_10x1, tile_11x1, tile_12x1, tile_13x1, tile_14x1},
	[TALL_PANELS] = {[7] = tile_7x2, tile_8x2, tile_9x2, tile_10x2, tile_11x2, tile_12x2, tile_13x2, tile_14x2},
	[TILE_PANELS] = {NULL, tile_1x4, tile_2x4, tile_3x4, tile_4x4, tile_5x4, tile_6x4},
};

static const TileFn tiles_next[TILE_ROWS + 1] =
	{NULL, tile_1x4_next, tile_2x4_next, tile_3x4_next, tile_4x4_next, tile_5x4_next, tile_6x4_next};

KERN_INLINE void
tile_dot(int rows, int panels, const uint8_t *q, int ldq, const int8_t *w, const int32_t *comp, int k4, int32_t *acc)
{
	TileIn		in = {.q = q, .ldq = ldq, .w = w, .comp = comp, .k4 = k4};

	tiles[panels][rows] (&in, &(TileOut) {.acc = acc});
}

#include "kern_gemm.h"

/*
 * Panels are the outer loop: four of them stay in the L2 cache while blocks of rows pass, and the next four are fetched
 * meanwhile, by each block one of them, or two where there are few blocks.  Few rows are one block.
 */
static void
gemm_i8(int m, const uint8_t *q, int ldq, const KernCode *code, const KernMatrix *w, const float *bias,
		KernAct act, bool residual, float *y, int ldy, void *scratch)
{
	TileIn		in = {.ldq = ldq, .k4 = KERN_ROUND_UP(w->k, KERN_QUAD) / KERN_QUAD};
	int			n_panel = KERN_ROUND_UP(w->n, KERN_PANEL) / KERN_PANEL,
				step = m > TILE_ROWS && m <= TALL_ROWS ? TALL_PANELS : TILE_PANELS,
				blocks = m <= TALL_ROWS ? m > 0 : (m + TILE_ROWS - 1) / TILE_ROWS;
	ptrdiff_t	panel_bytes = (ptrdiff_t) in.k4 * KERN_STEP_BYTES;
	int32_t		acc[TALL_ROWS * TALL_PANELS * KERN_PANEL] __attribute__((aligned(64)));

	(void) scratch;
	for (int p = 0, panels; p < n_panel; p += panels)
	{
		int			col = p * KERN_PANEL,
					next;		/* panels that may be fetched */
		bool		in_registers;

		panels = n_panel - p >= step ? step : 1;
		next = blocks > 1 && n_panel - p >= 2 * TILE_PANELS ? TILE_PANELS : 0;
		in_registers = act == KERN_ACT_NONE && col + panels * KERN_PANEL <= w->n;
		in.w = w->panels + p * panel_bytes;
		in.comp = w->comp + col;
		for (int b = 0, i = 0, rows; b < blocks; b++, i += rows)
		{
			TileOut		out = {.acc = in_registers ? NULL : acc, .code = code + i, .comp = w->comp + col,
				.wscale = w->scale + col, .bias = bias ? bias + col : NULL, .residual = residual,
				.y = y + (size_t) i * ldy + col, .ldy = ldy};

			/* Blocks of nearly equal height: the last one is not a thin rest. */
			rows = (m - i) / (blocks - b);
			in.q = q + (size_t) i * ldq;
			in.ahead[0] = (TILE_PANELS + b) * panel_bytes;
			in.ahead[1] = b + 2 < next && blocks < TILE_PANELS ? (TILE_PANELS + b + 2) * panel_bytes : 0;
			if (b < next)
				tiles_next[rows] (&in, &out);
			else
				tiles[panels][rows] (&in, &out);
			if (!in_registers)
				tile_finish(rows, panels, acc, code + i, w, col, bias, act, residual, y + (size_t) i * ldy, ldy);
		}
	}
}

#define KERN_TABLE kern_table_avx512
#define KERN_LEVEL KERN_AVX512VNNI
#define KERN_NAME "avx512-vnni"
#include "kern_table.h"
