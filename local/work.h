/* SPDX-License-Identifier: ISC */
#ifndef LOCAL_WORK_H
#define LOCAL_WORK_H

/*
 * The parent's work on jobs: for one recipient after the other it makes a plan, lets a child
 * carry it out, logs and reports. Nothing of the message is looked at here.
 */
void work_init(unsigned limit);

#endif
