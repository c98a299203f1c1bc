#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# gatepost check: every mistake in both files, once, with its place; what the file system lacks.
use strict;
use warnings;
use Gatepost::Kit;
use Test::More;

my $dir = tempdir('check');

sub check {
    my ($main, $master) = @_;
    my $libexec = build() . '/libexec';
    spew("$dir/main.cf", "alias_maps =\ndaemon_directory = $libexec\n$main");
    spew("$dir/master.cf", $master // "2525 inet n - n - - smtpd\n");
    return run_out(build() . '/sbin/gatepost', '-c', $dir, 'check');
}

my ($status, $out);
run_out(src() . '/t/lib/make-users') if $> == 0;
($status, $out) = check('');
is($status, 0, 'nothing is wrong') or diag $out;
is($out, '', 'nothing is said');

($status, $out) = check(<<"END", <<"END2");
smtpd_timeot = 5
smtpd_banner =
    \$myhostnam ESMTP
transport_maps = hash:$dir/missing, cidr:$dir/gone
mynetworks = 127.0.0.0/8
soft_bounce = perhaps
END
2525 inet n - n - - smtpd -o soft_bounce=maybe
2526 inet n - n - - smtpd -o soft_bounce=no
2527 inet n - n - - smpt
END2
is($status, 1, 'mistakes: status 1');
is($out, <<"END", 'each once, with place and nearest name') or diag $out;
$dir/main.cf:8:15: error: soft_bounce: "perhaps" is neither; expected yes or no
$dir/main.cf:5:5: error: smtpd_banner: "\$myhostnam" is not defined; expected "\$myhostname"
$dir/master.cf:3:21: error: unknown command "smpt"; expected "smtp"
$dir/master.cf:1:42: error: soft_bounce: "maybe" is neither; expected yes or no
$dir/main.cf:3:1: error: unknown parameter "smtpd_timeot"; expected "smtpd_timeout"
$dir/main.cf:6:18: error: transport_maps: $dir/missing.db: No such file or directory; expected the file that "gatemap hash:$dir/missing" makes
$dir/main.cf:6:@{[ 18 + length("hash:$dir/missing, ") ]}: error: transport_maps: $dir/gone: No such file or directory; expected a readable file
END

($status, $out) = check('', <<'END');
2525 inet n - n - - smtpd
  -o smtpd_client_restrictions=$mua_client_restrictions
  -o smtpd_helo_restrictions=$mua_helo_restrictions
  -o smtpd_sender_restrictions=$mua_sender_restrictions
END
is("$status $out", '0 ', q{lists of Postfix's own master.cf need not be set});
($status, $out) = check("smtp_tls_per_site = static:may\n");
is($status, 0, 'a parameter of Postfix that is not supported is no error');
like($out, qr/main\.cf:3:1: warning: smtp_tls_per_site is not supported/, 'but a warning');

($status, $out) = check("resolve_dequoted_address = no\nsoft_bounce = no\ninfo_log_address_format = external\n"
    . "slow_recipient_limit = 5\nslow_delivery_slot_cost = 4\ndefault_minimum_delivery_slots = 9\nempty_address_recipient = postmaster\n", "slow unix - - n - - smtp\n"
    . "2526 inet n - n - - smtpd -o info_log_address_format=internal\n2525 inet n - n - - smtpd\n");
is($status, 0, 'a parameter that no program reads is no error');
is(join('', sort split /^/, $out), <<"END", 'but a warning each, where its value is not the default') or diag $out;
$dir/main.cf:3:1: warning: resolve_dequoted_address is not supported; expected another, it has no effect
$dir/main.cf:6:1: warning: slow_recipient_limit is not supported; expected qmgr_message_recipient_limit, it has no effect
$dir/main.cf:7:1: warning: slow_delivery_slot_cost is not supported; expected another, it has no effect
$dir/main.cf:8:1: warning: default_minimum_delivery_slots is not supported; expected another, it has no effect
$dir/main.cf:9:1: warning: empty_address_recipient is not supported; expected another, it has no effect
$dir/master.cf:2:30: warning: info_log_address_format is not supported; expected another, it has no effect
END

# Each row of params.def: it says that no program reads it when none does, and only then.
my %row = slurp(src() . '/lib/conf/params.def') =~ /^P\((\w+), (\w+, .*)$/mg;
my $rows = join "\n", %row;
my @files = grep { substr($_, length src()) !~ m{/t/|/build} } map { glob(src() . "/$_") }
    '{master,smtpd,cleanup,qmgr,smtp-client,local,tally,resolver,vault,tools}/*.[ch]', 'lib/*/*.[ch]';
my (%read, @wrong);
for my $file (@files) {
    for my $name (slurp($file) =~ /\bP_(\w+)/g) {
        $read{$name}++;
        # The row that LMTP has of its own is found by that of SMTP (param_lmtp).
        $read{ $name =~ s/^s/l/r =~ s/_[he][eh]lo_/_lhlo_/r }++ if $name =~ /^smtp_/ && $file =~ m{/smtp-client/|/conf/vault\.c$};
    }
}
for my $name (sort keys %row) {
    # A default of another row or of a transport, or nothing that could have an effect.
    next if $rows =~ /\$\{?$name\b/ && $name ne 'default_recipient_limit'
        || $name =~ /^local_destination_/ || $row{$name} =~ /accepted without effect/i;
    push @wrong, $name if !$read{$name} != ($row{$name} =~ /PROG_NONE/);
}
is("@wrong", '', 'params.def says of each parameter whether a program reads it');

SKIP: {
    skip 'owners are looked at by root alone', 3 if $>;
    ($status, $out) = check("smtpd_owner = gp-nobody-here\nqueue_group = gp-none\ntally_owner = root\n");
    is($status, 1, 'users that do not exist');
    like($out, qr/main\.cf:3:15: error: smtpd_owner: no user "gp-nobody-here"; expected .*useradd /,
        'with the command that makes one');
    like($out, qr/main\.cf:5:15: error: tally_owner: "root" is root;/, 'root is no owner');
}

# Inside of tables.
spew("$dir/cidr", "10.0.0.0/8 fine\n10.0.0.0/33 wrong\n");
spew("$dir/broken.db", 'x' x 5000);
($status, $out) = check("transport_maps = cidr:$dir/cidr\nrelay_recipient_maps = hash:$dir/broken\n"
    . "mynetworks = 10.0.0.0/99\n");
is($status, 1, 'mistakes inside of tables');
like($out, qr/main\.cf:3:18: error: transport_maps: .*cidr.*2/, 'a line of a text table');
like($out, qr/main\.cf:4:24: error: relay_recipient_maps: hash:\S+broken is damaged;/, 'a damaged index');
like($out, qr/main\.cf:5:14: error: mynetworks: /, 'a network');
diag $out if !Test::More->builder->is_passing;

($status, $out) = check("daemon_directory = /nonexistent\n", "2525 inet n - n - - smtpd\n");
is($status, 1, 'no programs');
like($out, qr{master\.cf:1:1: error: /nonexistent/smtpd: No such file}, 'are named');

unlink "$dir/master.cf";
($status, $out) = run_out(build() . '/sbin/gatepost', '-c', $dir, 'check');
is($status, 1, 'no master.cf');
like($out, qr/master\.cf: error: No such file or directory; expected a readable file/, 'is named');
spew("$dir/master.cf", "x\0y");
($status, $out) = run_out(build() . '/sbin/gatepost', '-c', $dir, 'check');
like($out, qr/master\.cf:1:2: error: a NUL character; expected a text file/, 'not a text file');
is((run_out('sh', '-c', 'mandoc -Tlint -W style "$0" | grep -v "referenced manual not found"', build() . '/man/gatepost.conf.5'))[1],
    '', 'gatepost.conf(5) is clean');

# Each restriction is described; those with the servers of a name by the form of their names.
my $page = slurp(src() . '/man/gatepost-restrictions.5');
my @restrictions = slurp(src() . '/lib/conf/restrictions.def') =~ /^R\((\w+),/mg;
cmp_ok(scalar(@restrictions), '>', 60, 'restrictions');
is(join(' ', grep { !/_(?:mx|ns|a)_access$/ && $page !~ /\b$_\b/ } @restrictions), '', 'gatepost-restrictions(5) has all of them');

# Each parameter is named in the page of each program that reads it.
my %pages = (SMTPD => ['smtpd'], CLIENT => ['smtp-client'], CLEANUP => ['cleanup'], QMGR => ['qmgr'], LOCAL => ['local', 'virtual'],
    VAULT => ['vault'], RESOLVER => ['resolver'], TALLY => ['tally'], MASTER => ['master']);
my %named = map { my $program = $_; $program => { map { $_ => 1 } map { slurp(src() . "/man/$_.8") =~ /\w+/g } @{ $pages{$program} } } } keys %pages;
my @read = map { my ($name, $programs) = @$_; map { [$_, $name] } grep { $pages{$_} } $programs =~ /PROG_(\w+)/g }
    map { [/^P\((\w+),.*? (PROG_[A-Z_| ]+), "/] } grep {/^P\(/} split /\n/, slurp(src() . '/lib/conf/params.def');
cmp_ok(scalar(@read), '>', 600, 'parameters of programs');
is(join("\n", map {"$pages{$_->[0]}[0](8): $_->[1]"} grep { !$named{ $_->[0] }{ $_->[1] } } @read), '', 'the page of each program names what it reads');
done_testing;
