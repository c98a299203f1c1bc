#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# make install with DESTDIR: what lies where, links by Postfix's names, and that files which somebody
# has edited stay.
use strict;
use warnings;
use Gatepost::Kit;
use Test::More;

my $dest = tempdir('install');
my ($makefile) = slurp(build() . '/Makefile');
my %at = map { $_ => $makefile =~ /^$_ = (.*)$/m ? $1 : '' }
    qw(prefix exec_prefix sbindir libexecdir sysconfdir datarootdir mandir);
for (1 .. 3) { s/\$\{(\w+)\}/$at{$1}/g for values %at }
my ($sbin, $libexec, $etc, $man) =
    ("$dest$at{sbindir}", "$dest$at{libexecdir}/gatepost", "$dest$at{sysconfdir}/gatepost", "$dest$at{mandir}");

sub make { run_ok("make @_", 'make', '-s', '-C', build(), @_, "DESTDIR=$dest") }

make('install');
ok(-x "$sbin/$_" && !-l "$sbin/$_", "the command $_") for qw(gatepost gatemap gateconf gateq sendmail);
ok(-x "$libexec/$_", "the daemon $_")
    for qw(master smtpd cleanup qmgr smtp-client local virtual resolver tally nss maildrop);
if ($> == 0 && getgrnam 'gp-drop') {
    my @st = stat "$libexec/maildrop";
    is(sprintf('%o ', $st[2] & 07777) . getgrgid $st[5], '2755 gp-drop', 'the helper is set-gid');
}
ok(-s "$etc/$_", "the sample $_") for qw(main.cf master.cf aliases);
ok(-s "$man/$_", "the page $_")
    for qw(man1/gatepost.1 man1/gatemap.1 man1/gateconf.1 man1/gateq.1 man1/sendmail.1
    man5/gatepost.conf.5 man5/master.cf.5 man5/gatepost-tables.5 man5/gatepost-queue.5
    man5/gatepost-ipc.5 man7/gatepost.7 man8/master.8 man8/smtpd.8 man8/qmgr.8);
my %links = (postmap => 'gatemap', postalias => 'gatemap', postconf => 'gateconf', postqueue => 'gateq',
    postsuper => 'gateq', postcat => 'gateq', qshape => 'gateq', mailq => 'sendmail', newaliases => 'sendmail');
is(readlink "$sbin/$_", $links{$_}, "the link $_") for sort keys %links;

# The sample is a configuration without a mistake.
my ($status, $out) = run_out("$sbin/gatepost", '-c', $etc, 'check');
unlike($out, qr{\Q$etc\E/\S+: error: (?!.*(?:daemon_directory|useradd))}, 'the samples have no mistake')
    or diag $out;

spew("$etc/main.cf", "myhostname = mine.example\n");
make('install');
is(slurp("$etc/main.cf"), "myhostname = mine.example\n", 'an edited file stays');
make('uninstall');
is(slurp("$etc/main.cf"), "myhostname = mine.example\n", 'over uninstall, too');
ok(!-e "$etc/master.cf" && !-e "$sbin/gatepost" && !-l "$sbin/postmap", 'the rest is gone');

# Without Postfix's names: what configure makes of the condition.
my $plain = tempdir('plain');
my $command = "cd '$plain' && '" . src() . "/configure' -q --without-postfix-names >/dev/null 2>&1"
    . " && make -n install-exec-hook DESTDIR=$dest";
my $text = `$command`;
is($?, 0, 'configure --without-postfix-names');
unlike($text, qr/postmap|postqueue|mailq|postconf/, 'makes no links');
done_testing;
