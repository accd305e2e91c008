/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The generic kernel header: UAPI headers include <asm/...>, which only the build machine has an own version of. */
#include <asm-generic/types.h>
